"""Measuring a suite, network by network."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import onnx

from edgesmith.bench.compare import Comparison, Contest
from edgesmith.bench.installed import Installed
from edgesmith.bench.machine import best_of, this_machine
from edgesmith.bench.profile import limit, profile
from edgesmith.bench.record import Record, Result
from edgesmith.bench.suite import Entry, Suite
from edgesmith.device import Artifact, load
from edgesmith.errors import EdgesmithError
from edgesmith.frontend.onnx import read
from edgesmith.ir import Graph, Node
from edgesmith.ops.conv import Conv
from edgesmith.passes import optimize
from edgesmith.target import Machine, parse

__all__ = ["Build", "Listener", "measure"]

Build = Callable[[onnx.ModelProto, str, Path], Artifact]
"""Compiles a model under a name into a folder."""

PROFILE_SECONDS = 4.0
PROFILE_REPETITIONS = (10, 100)


class Listener(Protocol):
    """Who is told about the progress."""

    def say(self, text: str) -> None:
        """What begins."""

    def pieces(self, text: str, done: int, total: int) -> None:
        """How far it is."""

    def whole(self, text: str, done: int, total: int) -> None:
        """How far all of the work is."""

    def finished(self, result: Result) -> None:
        """A network is measured and saved."""

    def failed(self, name: str, error: EdgesmithError) -> None:
        """Our program for a network cannot be had; the others are measured all the same."""


def measure(
    suite: Suite, record: Record, installed: Installed, threads: Sequence[int], build: Build, listener: Listener
) -> None:
    """Compile and measure each network that the record lacks, and save it at once.

    Args:
        threads: numbers of threads, each of which gives a result.
        build: gives our program.
    """
    total = len(suite.entries) * len(threads)
    done = sum(record.has(e.name, n) for e in suite.entries for n in threads)
    listener.whole(f"suite {suite.name}", done, total)
    if done == total:
        return
    _measure_machine(record, threads, listener)
    for entry in suite.entries:
        left = [n for n in threads if not record.has(entry.name, n)]
        try:
            for result in _results(entry, left, record, installed, build, listener) if left else ():
                record.add(result)
                done += 1
                listener.finished(result)
                listener.whole(f"suite {suite.name}", done, total)
        except EdgesmithError as error:
            listener.failed(entry.name, error)
    _measure_machine(record, threads, listener)
    record.save()


def _measure_machine(record: Record, threads: Sequence[int], listener: Listener) -> None:
    """Peak rates, kept where they are higher than those known so far; limits of layers follow them."""
    for count in threads:
        listener.say(f"peak rates of this machine, {count} thread{'s' * (count > 1)}")
        found = this_machine(count, fresh=True)
        known = record.machines.get(count)
        machine = record.machines[count] = best_of(known, found) if known else found
        for result in record.results:
            if result.threads == count:
                for layer in result.layers:
                    layer["limit_ns"], layer["bound"] = limit(layer, result.program, machine)


def _results(
    entry: Entry, threads: Sequence[int], record: Record, installed: Installed, build: Build, listener: Listener
) -> Iterator[Result]:
    """One network, compiled once and measured with each number of threads."""
    model = entry.model()
    graph = optimize(read(model))[0]
    with tempfile.TemporaryDirectory(prefix="edgesmith-suite-") as folder:
        place = Path(folder) / "program"
        listener.say(f"{entry.name}: compiling")
        build(model, entry.network, place)
        with Contest(model, installed, partial(_say_of, listener, entry.name)) as contest:
            for count in threads:
                program = load(place, count)
                label = f"{entry.name}, {count} thread{'s' * (count > 1)}"
                comparison = contest.compare(
                    program, record.settings.rounds, partial(listener.pieces, f"{label}: rounds")
                )
                listener.say(f"{label}: layers")
                layers = describe_layers(program, graph, record.machines[count], comparison)
                yield Result(entry.network, entry.batch, comparison, describe_program(program), layers)


def _say_of(listener: Listener, name: str, text: str) -> None:
    listener.say(f"{name}: {text}")


def describe_program(program: Artifact) -> dict[str, Any]:
    """What our program takes.

    Returns:
        ``lanes`` of a vector register, ``macs``, ``code_bytes``, and the manifest's memory figures; ``resident_bytes``
        is all memory that a prepared program of one thread works with.
    """
    memory = dict(program.manifest["memory"])
    return {
        "target": program.manifest["target"],
        "lanes": parse(program.manifest["target"]).lanes,
        "macs": sum(s["macs"] for s in program.manifest["steps"]),
        "code_bytes": program.library.stat().st_size - memory["weights_bytes"],
        **memory,
        "resident_bytes": sum(
            memory[key] for key in ("weights_bytes", "prepared_bytes", "arena_bytes", "scratch_bytes_per_worker")
        ),
    }


def describe_layers(program: Artifact, graph: Graph, machine: Machine, comparison: Comparison) -> list[dict[str, Any]]:
    """Each step with its time, its limit, and the shapes that explain the distance between them.

    Args:
        graph: what the program was compiled from, after the passes.
    """
    low, high = PROFILE_REPETITIONS
    repetitions = min(max(int(PROFILE_SECONDS * 1e9 / 2 / comparison.ours.times.median), low), high)
    found = profile(program, machine, repetitions)
    nodes = {n.name: n for n in graph.nodes}
    described = []
    for step, entry in zip(found.steps, program.manifest["steps"], strict=True):
        own = [nodes[name] for name in entry["nodes"] if name in nodes]
        constants = {v for n in own for v in n.read if v in graph.constants}
        described.append(
            {
                **vars(step),
                "schedule": entry["schedule"],
                "tasks": entry["tasks"],
                "flops": entry["flops"],
                "shape": entry["shape"],
                "measured": bool(program.times.get(entry["name"])),
                "weight_bytes": sum(graph.type(v).nbytes for v in constants),
                "products": [_product(graph, n) for n in own if graph.cost(n).macs],
            }
        )
    return described


def _product(graph: Graph, node: Node) -> dict[str, Any]:
    """A convolution or matrix product: ``filters`` sums of ``depth`` products at each of ``positions``."""
    (result,) = graph.output_types(node)
    depth = graph.cost(node).macs // max(result.size, 1)
    if isinstance(node.op, Conv):
        filters, group = result.shape[1], node.op.group
        spatial = {"kernel": list(node.op.window.kernel), "strides": list(node.op.window.strides), "groups": group}
    else:
        filters = result.shape[-1] if result.shape else 1
        spatial = {"kernel": [], "strides": [], "groups": 1}
    width = result.shape[-1] if isinstance(node.op, Conv) else 1
    positions = math.prod(result.shape) // max(filters, 1)
    return {**spatial, "depth": depth, "filters": filters, "positions": positions, "width": width}
