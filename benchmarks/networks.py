"""Compile, verify and time every network of the zoo, or given ONNX files, next to ONNX Runtime; write a table.

    python benchmarks/networks.py [NAME|FILE.onnx ...] [--threads N] [--target T] [-o benchmarks/networks.json]

The JSON file holds every figure with the machine and versions; the Markdown file beside it is the table for reading.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import edgesmith
from edgesmith import zoo
from edgesmith.bench.compare import Contest
from edgesmith.bench.environment import environment
from edgesmith.bench.installed import install
from edgesmith.bench.peers import select
from edgesmith.frontend.normalize import normalize
from edgesmith.knobs import CACHE_DIR

COLUMNS = (
    "network",
    "MACs (M)",
    "steps",
    "compile (s)",
    "again (s)",
    "largest error",
    "tolerance",
    "arena (kB)",
    "bound (kB)",
    "naive (kB)",
    "weights (kB)",
    "code (kB)",
    "Edgesmith (ms)",
    "ONNX Runtime (ms)",
    "ratio",
)


def measure(name: str, folder: Path, target: str, threads: int, rounds: int) -> dict[str, Any]:
    """All figures of one network."""
    path = Path(name)
    if path.suffix != ".onnx":
        path = folder / f"{name}.onnx"
        zoo.save(name, path)
    out = folder / path.stem
    began = time.perf_counter()
    edgesmith.compile(path, target=target, output=out, threads=threads)
    compiled = time.perf_counter() - began
    began = time.perf_counter()
    artifact = edgesmith.compile(path, target=target, output=out, threads=threads)
    again = time.perf_counter() - began
    verified = json.loads((out / "verification.json").read_text())
    worst = max(verified["outputs"], key=lambda o: o["error"] / o["tolerance"] if o["tolerance"] else o["error"])
    with Contest(normalize(path), install(select(["onnxruntime"]), _silent), _silent) as contest:
        timed = contest.compare(artifact, rounds)
    memory = artifact.manifest["memory"]
    return {
        "network": path.stem,
        "macs": sum(s["macs"] for s in artifact.manifest["steps"]),
        "steps": len(artifact.manifest["steps"]),
        "compile_s": compiled,
        "compile_again_s": again,
        "error": worst["error"],
        "tolerance": worst["tolerance"],
        "layers_ok": all(layer["ok"] for layer in verified["layers"]),
        "arena_bytes": memory["arena_bytes"],
        "arena_lower_bound_bytes": memory["arena_lower_bound_bytes"],
        "arena_naive_bytes": memory["arena_naive_bytes"],
        "weights_bytes": memory["weights_bytes"],
        "code_bytes": artifact.library.stat().st_size - memory["weights_bytes"],
        **timed.to_json(),
    }


def _silent(text: str) -> None:
    """What begins is of no interest here."""


def row(r: dict[str, Any]) -> str:
    """One line of the Markdown table."""
    ours, theirs = (r["runtimes"][n]["median_ms"] for n in ("edgesmith", "onnxruntime"))
    cells = [
        r["network"],
        f"{r['macs'] / 1e6:.1f}",
        str(r["steps"]),
        f"{r['compile_s']:.1f}",
        f"{r['compile_again_s']:.2f}",
        f"{r['error']:.1e}",
        f"{r['tolerance']:.1e}",
        *(f"{r[k] / 1e3:.0f}" for k in ("arena_bytes", "arena_lower_bound_bytes", "arena_naive_bytes")),
        *(f"{r[k] / 1e3:.0f}" for k in ("weights_bytes", "code_bytes")),
        f"{ours:.3f}",
        f"{theirs:.3f}",
        f"{theirs / ours:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help="zoo names or ONNX files (default: the whole zoo)")
    parser.add_argument("--target", default="native")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/networks.json"))
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    header = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    print("\n".join(header))
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_DIR.name] = str(Path(folder) / "cache")
        # The compiler's own library is built once for a machine.
        edgesmith.compile(zoo.build("lenet-5"), output=Path(folder) / "first", target=options.target)
        for name in options.networks or zoo.names():
            results.append(measure(name, Path(folder), options.target, options.threads, options.rounds))
            print(row(results[-1]), flush=True)
    data = {
        "command": f"python benchmarks/networks.py --target {options.target} --threads {options.threads}",
        "environment": environment(),
        "networks": results,
    }
    options.output.write_text(json.dumps(data, indent=1) + "\n")
    options.output.with_suffix(".md").write_text("\n".join([*header, *map(row, results)]) + "\n")


if __name__ == "__main__":
    main()
