"""``edgesmith why``: the decisions behind an artifact."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgesmith.cli.arguments import ArtifactArgument
from edgesmith.cli.console import console, print_json, table
from edgesmith.device import load
from edgesmith.errors import BadInput
from edgesmith.report.units import count, duration, nbytes, shape


def command(
    artifact: ArtifactArgument,
    layer: Annotated[
        str | None, typer.Argument(metavar="[LAYER]", help="A step, an ONNX node or a part of its name; default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which kernels were considered for each layer, and why one was chosen.

    Without LAYER: one line a step with the kernel and its nearest rival, what became of each data movement, and what
    the passes did. With LAYER: every kernel with its predicted time or the reason why it does not apply.

    \b
    Examples:
      edgesmith why out/
      edgesmith why out/ features.3
      edgesmith why out/ Conv_12 --json
    """
    manifest = load(artifact).manifest
    steps = [step for step in manifest["steps"] if layer is None or _matches(step, layer)]
    free = {n: note for n, note in manifest["free"].items() if layer is None or layer.lower() in n.lower()}
    copies = {n: note for n, note in manifest["copies"].items() if layer is None or layer.lower() in n.lower()}
    if not steps and not free:
        names = ", ".join(step["name"] for step in manifest["steps"][:8])
        raise BadInput(f"no step or data movement matches {layer!r}", where=str(artifact), hint=f"steps: {names}, ...")
    if as_json:
        passes = {key: manifest[key] for key in ("passes", "skipped")}
        print_json({"steps": steps, "free": free, "copies": copies, **passes})
    elif layer is None:
        _overview(manifest)
    else:
        _details(steps, free | copies)


def _matches(step: dict[str, Any], text: str) -> bool:
    wanted = text.lower()
    names = (step["name"], *step["nodes"], *step["origin"], *step["outputs"])
    exact = any(wanted == n.lower() for n in names)
    return exact or any(wanted in n.lower() for n in names)


def _overview(manifest: dict[str, Any]) -> None:
    out = console()
    steps = table("", ">step|layer|operators|kernel|>predicted|next best|not applicable")
    for i, step in enumerate(manifest["steps"]):
        chosen, *others = step["considered"]
        rivals = [c for c in others if "predicted_ns" in c]
        next_best = f"{rivals[0]['kernel']} {duration(rivals[0]['predicted_ns'])}" if rivals else ""
        refused = str(len(others) - len(rivals))
        steps.add_row(
            str(i), step["name"], step["operators"], _kernel(chosen), duration(step["predicted_ns"]), next_best, refused
        )
    out.print(steps)
    if manifest["free"] or manifest["copies"]:
        moves = table("data movements", "node|what became of it")
        for node, note in (manifest["free"] | manifest["copies"]).items():
            moves.add_row(node, note)
        out.print(moves)
    passes = table("passes", "pass|>rewrites")
    for name, number in manifest["passes"].items():
        passes.add_row(name, str(number))
    out.print(passes if manifest["passes"] else "passes: nothing to rewrite")
    if manifest["skipped"]:
        left = table("left by passes", "pass|node|reason")
        for entry in manifest["skipped"]:
            left.add_row(entry["pass"], entry["node"], entry["reason"])
        out.print(left)
    out.print("edgesmith why ARTIFACT LAYER shows every kernel that was considered for a layer", style="dim")


def _kernel(candidate: dict[str, Any]) -> str:
    schedule = " ".join(f"{k}={v}" for k, v in candidate.get("schedule", {}).items())
    return f"{candidate['kernel']} {schedule}".rstrip()


def _details(steps: list[dict[str, Any]], free: dict[str, str]) -> None:
    out = console()
    for step in steps:
        out.print(f"{step['name']}  {step['operators']}", style="bold", markup=False)
        for label, text in (
            ("nodes", ", ".join(step["nodes"])),
            ("from", ", ".join(step["origin"])),
            ("output", ", ".join(f"{v} {shape(s)}" for v, s in zip(step["outputs"], step["shape"], strict=True))),
            ("work", f"{count(step['macs'])} MACs, {nbytes(step['bytes'])}, {step['tasks']} parallel tasks"),
            ("function", step["function"]),
        ):
            out.print(f"  {label:9} {text}", markup=False)
        shown = table("", "|kernel|>predicted|why")
        for i, candidate in enumerate(step["considered"]):
            predicted = candidate.get("predicted_ns")
            shown.add_row(
                "→" if i == 0 else "",
                _kernel(candidate),
                "" if predicted is None else duration(predicted),
                candidate.get("reason", "") if predicted is None else _verdict(predicted, step, i),
            )
        out.print(shown)
    for node, note in free.items():
        out.print(f"{node}: {note}", markup=False)


def _verdict(predicted: float, step: dict[str, Any], rank: int) -> str:
    if rank == 0:
        return "chosen: least predicted time"
    return f"{predicted / max(step['predicted_ns'], 1e-9):.2f} times the chosen one's"
