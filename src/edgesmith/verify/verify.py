"""Running an artifact layer by layer beside ONNX Runtime."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.device import Artifact, Context, emulated
from edgesmith.errors import ArtifactError
from edgesmith.ir import Graph, Node
from edgesmith.kernels import KERNELS
from edgesmith.target import runs_here
from edgesmith.verify.accumulate import Accumulated, accumulate
from edgesmith.verify.compare import Difference, compare
from edgesmith.verify.evaluate import Evaluator, Values
from edgesmith.verify.result import Evidence, Layer, Verification
from edgesmith.verify.tolerance import Computed, region_bounds, smallest

__all__ = ["verify"]

Arrays = Mapping[str, np.ndarray]
Progress = Callable[[int, int], None]


def verify(
    artifact: Artifact,
    graph: Graph,
    feeds: Arrays,
    *,
    expected: Arrays | None = None,
    accumulated: Accumulated | None = None,
    roundoff: float = 0.0,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Compare a program with ONNX Runtime: its outputs, and every layer alone on reference inputs.

    Of a program for another machine, which an emulator runs, only the outputs are compared.

    Args:
        graph: the graph that the artifact was compiled from (``Plan.graph``).
        feeds: the inputs by name.
        expected: outputs of the original model (default: of ``graph``).
        accumulated: result of ``accumulate`` for the same graph and inputs.
        roundoff: see ``accumulate``.
        seed: what the inputs were made from, for the record.
        progress: called with (layers done, layers in all).

    Raises:
        ArtifactError: the artifact was not compiled from this graph.
        TargetError: it was compiled for another machine, and there is no emulator.
    """
    layers = _layers(artifact, graph)
    computed = _computed(artifact)
    device = None if runs_here(artifact.target) else emulated(artifact.target)
    known = accumulated or accumulate(graph, feeds, computed=computed, roundoff=roundoff)
    result = Verification(artifact.name, seed, device.name if device else "")
    given = {v: feeds[v] for v in graph.inputs}
    if device:
        got = device.run(artifact, given)
    else:
        _check_layers(result, layers, _Run(artifact, graph, feeds, known, computed), progress)
        outputs = artifact(**given)
        got = outputs if isinstance(outputs, dict) else {graph.outputs[0]: outputs}
    wanted = known.outputs if expected is None else expected
    for v in graph.outputs:
        result.outputs[v] = compare(got[v], wanted[v], known.tolerances[v], known.unstable.get(v))
    return result


@dataclass(frozen=True)
class _Layer:
    """A step with its nodes, or a free movement (``step`` None)."""

    step: int | None
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kernel: str
    operators: str

    @property
    def main(self) -> Node:
        return self.nodes[0]


def _check_layers(result: Verification, layers: Sequence[_Layer], run: _Run, progress: Progress | None) -> None:
    for i, layer in enumerate(layers):
        row, evidence = run.check(layer)
        result.layers.append(row)
        if not row.ok and result.evidence is None:
            result.evidence = evidence
        if progress:
            progress(i + 1, len(layers))


def _layers(artifact: Artifact, graph: Graph) -> list[_Layer]:
    """The program's layers in the order of execution, free movements as early as their operands allow."""
    if artifact.manifest.get("graph") not in (None, graph.digest):
        raise ArtifactError(
            "was not compiled from this model, or by another version of Edgesmith",
            where=str(artifact.path),
            hint="compile the model again",
        )
    nodes = {n.name: n for n in graph.nodes}
    pending = [nodes[name] for name in artifact.manifest["free"]]
    ready = {*graph.inputs, *graph.constants}
    layers: list[_Layer] = []

    def take_free() -> None:
        for node in [n for n in graph.nodes if n in pending]:
            if ready.issuperset(node.read):
                layers.append(_Layer(None, (node,), node.read, node.outputs, "view", node.op.name))
                ready.update(node.outputs)
                pending.remove(node)

    for i, step in enumerate(artifact.manifest["steps"]):
        take_free()
        members = tuple(sorted((nodes[name] for name in step["nodes"]), key=lambda n: graph.position[n.name]))
        layers.append(
            _Layer(i, members, tuple(step["inputs"]), tuple(step["outputs"]), step["kernel"], step["operators"])
        )
        ready.update(v for n in members for v in n.outputs)
    take_free()
    return layers


def _computed(artifact: Artifact) -> Computed:
    """Kernel and schedule of each step's main node.

    Raises:
        ArtifactError: a kernel is unknown.
    """
    steps = artifact.manifest["steps"]
    unknown = {step["kernel"] for step in steps} - set(KERNELS)
    if unknown:
        raise ArtifactError(
            f"uses kernels that this version of Edgesmith does not know: {', '.join(sorted(unknown))}",
            where=str(artifact.path),
            hint="compile the model again",
        )
    return {step["name"]: (KERNELS[step["kernel"]], step["schedule"]) for step in steps}


class _Run:
    """Two contexts of the program: one that runs as a whole, and one whose layers run alone on reference inputs."""

    def __init__(self, artifact: Artifact, graph: Graph, feeds: Arrays, known: Accumulated, computed: Computed) -> None:
        self.graph, self.known, self.computed = graph, known, computed
        self.evaluator = Evaluator(graph)
        self.values = Values(graph, feeds)
        self.whole, self.alone = _bound(artifact, feeds), _bound(artifact, feeds)
        self.written: dict[str, int] = {}

    def check(self, layer: _Layer) -> tuple[Layer, Evidence]:
        local = self._reference(layer)
        bounds = region_bounds(self.evaluator, layer.nodes, local, self.computed)
        fault = self._changed(layer)
        got = self._alone(layer, local)
        self._advance(layer)
        isolated, accumulated = [], []
        for v in layer.outputs:
            floor = smallest(self.graph.type(v).dtype) if not _exact(bounds[v]) else 0.0
            isolated.append(compare(got[v], local[v], np.maximum(bounds[v], floor)))
            allowed, ignore = self.known.tolerances[v], self.known.unstable.get(v)
            accumulated.append(compare(self._read(self.whole, v), local[v], allowed, ignore))
        evidence = Evidence({v: local[v] for v in layer.inputs}, {v: local[v] for v in layer.outputs}, got)
        for node in layer.nodes:
            self.values.release(node)
        worst = max(range(len(isolated)), key=lambda i: isolated[i].ratio)
        origin = tuple(dict.fromkeys(o for n in layer.nodes for o in (n.origin or (n.name,))))
        row = Layer(
            layer.step,
            layer.main.name,
            layer.operators,
            layer.kernel,
            origin,
            layer.outputs[worst],
            isolated[worst],
            max(accumulated, key=_by_ratio),
            fault,
        )
        return row, evidence

    def _reference(self, layer: _Layer) -> dict[str, np.ndarray]:
        """Reference values of everything that the layer's nodes read and write."""
        local: dict[str, np.ndarray] = {}
        for node in layer.nodes:
            operands = self.values.operands(node)
            local.update({v: a for v, a in zip(node.inputs, operands, strict=True) if a is not None})
            results = self.evaluator.run(node, operands)
            self.values.store(node, results)
            local.update(zip(node.outputs, results, strict=True))
        return local

    def _alone(self, layer: _Layer, local: Arrays) -> dict[str, np.ndarray]:
        for v in layer.inputs:
            if v not in self.graph.constants:
                self._write(v, local[v])
        if layer.step is not None:
            self.alone.run_steps(layer.step, layer.step + 1)
        return {v: self._read(self.alone, v) for v in layer.outputs}

    def _write(self, value: str, array: np.ndarray) -> None:
        if value not in self.graph.inputs:
            self.alone.value(value)[...] = array

    def _advance(self, layer: _Layer) -> None:
        if layer.step is not None:
            self.whole.run_steps(layer.step, layer.step + 1)
        for v in layer.outputs:
            self.written[v] = _checksum(self.whole.value(v))

    def _changed(self, layer: _Layer) -> str:
        """Whether a value that the layer reads is no longer what its producer left: two values share memory wrongly."""
        for v in layer.inputs:
            if v in self.written and _checksum(self.whole.value(v)) != self.written[v]:
                return f"reads {v!r}, which another step has overwritten: the memory plan is wrong"
        return ""

    @staticmethod
    def _read(context: Context, value: str) -> np.ndarray:
        return context.value(value).copy()


def _bound(artifact: Artifact, feeds: Arrays) -> Context:
    context = artifact.context()
    inputs = [np.array(feeds[v], order="C") for v in artifact.inputs]
    context.bind(inputs, [np.zeros(t.shape, t.dtype.numpy) for t in artifact.outputs.values()])
    return context


def _by_ratio(difference: Difference) -> float:
    return difference.ratio


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _exact(bound: np.ndarray | float) -> bool:
    return isinstance(bound, float) and bound == 0.0
