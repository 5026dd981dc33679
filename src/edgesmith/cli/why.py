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
    the passes did. With LAYER: every kernel with its predicted time or the reason why it does not apply,
    and what was measured.

    \b
    Examples:
      edgesmith why out/
      edgesmith why out/ features.3
      edgesmith why out/ Conv_12 --json
    """
    loaded = load(artifact)
    manifest, times = loaded.manifest, loaded.times
    steps = [step for step in manifest["steps"] if layer is None or _matches(step, layer)]
    free = {n: note for n, note in manifest["free"].items() if layer is None or layer.lower() in n.lower()}
    copies = {n: note for n, note in manifest["copies"].items() if layer is None or layer.lower() in n.lower()}
    if not steps and not free:
        names = ", ".join(step["name"] for step in manifest["steps"][:8])
        raise BadInput(f"no step or data movement matches {layer!r}", where=str(artifact), hint=f"steps: {names}, ...")
    if as_json:
        passes = {key: manifest[key] for key in ("passes", "skipped")}
        steps = [{**step, "measured": times.get(step["name"], [])} for step in steps]
        print_json({"steps": steps, "free": free, "copies": copies, "precision": loaded.precision, **passes})
        return
    if loaded.variant:
        console().print(f"variant {loaded.variant} of {', '.join(loaded.variants)} (EDGESMITH_ISA names another)")
    if layer is None:
        _overview(manifest, times)
        if loaded.precision:
            _precision(loaded.precision)
    else:
        _details(steps, times, free | copies)


def _matches(step: dict[str, Any], text: str) -> bool:
    wanted = text.lower()
    names = (step["name"], *step["nodes"], *step["origin"], *step["outputs"])
    exact = any(wanted == n.lower() for n in names)
    return exact or any(wanted in n.lower() for n in names)


def _overview(manifest: dict[str, Any], times: dict[str, Any]) -> None:
    out = console()
    steps = table("", ">step|layer|operators|kernel|>predicted|>measured|next best|not applicable")
    for i, step in enumerate(manifest["steps"]):
        chosen, *others = step["considered"]
        rivals = [c for c in others if "predicted_ns" in c]
        refused = str(len(others) - len(rivals))
        measured = times.get(step["name"], [])
        mine = _measured_ns(measured, chosen)
        steps.add_row(
            str(i),
            step["name"],
            step["operators"],
            _kernel(chosen),
            duration(step["predicted_ns"]),
            "" if mine is None else duration(mine),
            _next_best(measured, chosen, rivals),
            refused,
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


def _precision(found: dict[str, Any]) -> None:
    """Times of each product in floats and in integers, and which was taken."""
    out = console()
    rows = table("precision by time", "product|>f32|>int8|taken")
    for name, layer in found["layers"].items():
        taken = "f32" if layer["floats"] else "int8"
        rows.add_row(name, duration(layer["float_ns"]), duration(layer["integer_ns"]), taken)
    out.print(rows)
    whole = ("all in f32", "float_ns"), ("int8 wherever possible", "integer_ns"), ("as chosen", "chosen_ns")
    out.print("  ".join(f"{label} {duration(found[key])}" for label, key in whole), markup=False)


def _next_best(measured: list[dict[str, Any]], chosen: dict[str, Any], rivals: list[dict[str, Any]]) -> str:
    """The fastest other kernel: by measured times where there are any."""
    others = [row for row in measured if row["kernel"] != chosen["kernel"]]
    if others:
        return f"{others[0]['kernel']} {duration(others[0]['least_ns'])}"
    if measured or not rivals:
        return ""
    return f"{rivals[0]['kernel']} {duration(rivals[0]['predicted_ns'])}"


def _measured_ns(measured: list[dict[str, Any]], candidate: dict[str, Any]) -> float | None:
    """Measured time of a kernel with its schedule."""
    wanted = candidate["kernel"], candidate.get("schedule", {})
    return next((float(row["least_ns"]) for row in measured if (row["kernel"], row["schedule"]) == wanted), None)


def _kernel(candidate: dict[str, Any]) -> str:
    schedule = " ".join(f"{k}={v}" for k, v in candidate.get("schedule", {}).items())
    return f"{candidate['kernel']} {schedule}".rstrip()


def _details(steps: list[dict[str, Any]], times: dict[str, Any], free: dict[str, str]) -> None:
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
        measured = times.get(step["name"], [])
        shown = table("", "|kernel|>predicted|>measured|why")
        for i, candidate in enumerate(step["considered"]):
            predicted = candidate.get("predicted_ns")
            mine = _measured_ns(measured, candidate)
            shown.add_row(
                "→" if i == 0 else "",
                _kernel(candidate),
                "" if predicted is None else duration(predicted),
                "" if mine is None else duration(mine),
                candidate.get("reason", "") if predicted is None else _verdict(predicted, mine, step, i),
            )
        out.print(shown)
        if measured:
            rows = table("measured, fastest first", "kernel|>least|>median|where")
            for row in measured:
                rows.add_row(_kernel(row), duration(row["least_ns"]), duration(row["median_ns"]), row["source"])
            out.print(rows)
    for node, note in free.items():
        out.print(f"{node}: {note}", markup=False)


def _verdict(predicted: float, measured: float | None, step: dict[str, Any], rank: int) -> str:
    if rank == 0:
        return "chosen: least predicted time" if measured is None else "chosen: least measured time"
    return f"predicted to take {predicted / max(step['predicted_ns'], 1e-9):.2f} times as long"
