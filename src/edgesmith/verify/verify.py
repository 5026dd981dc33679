"""Running an artifact layer by layer beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from edgesmith.device import Artifact, Device, Instance, emulated
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
    device: Device | None = None,
) -> Verification:
    """Compare a program with ONNX Runtime: its outputs, and every layer alone on reference inputs.

    Where a device cannot run programs step by step, only the outputs are compared.

    Args:
        graph: the graph that the artifact was compiled from (``Plan.graph``).
        feeds: the inputs by name.
        expected: outputs of the original model (default: of ``graph``).
        accumulated: result of ``accumulate`` for the same graph and inputs.
        roundoff: see ``accumulate``.
        seed: what the inputs were made from, for the record.
        progress: called with (layers done, layers in all).
        device: where it runs (default: in this process, or, when it is for another machine, in an emulator).

    Raises:
        ArtifactError: the artifact was not compiled from this graph.
        TargetError: it was compiled for another machine, and there is no emulator.
        DeviceError: the device is out of reach.
    """
    layers = _layers(artifact, graph)
    computed = _computed(artifact)
    if device is None and not runs_here(artifact.target):
        device = emulated(artifact.target)
    known = accumulated or accumulate(graph, feeds, computed=computed, roundoff=roundoff)
    result = Verification(artifact.name, seed, device.name if device else "")
    with ExitStack() as opened:
        instances = [i for i in (_instance(artifact, device) for _ in range(2)) if i]
        for instance in instances:
            opened.enter_context(instance)
        if len(instances) == 2:
            run = _Run(artifact, graph, feeds, known, computed, *instances)
            _check_layers(result, layers, run, progress)
            got = run.outputs()
        else:
            assert device
            got = device.run(artifact, {v: feeds[v] for v in graph.inputs})
    wanted = known.outputs if expected is None else expected
    for v in graph.outputs:
        result.outputs[v] = compare(got[v], wanted[v], known.tolerances[v], known.unstable.get(v))
    return result


def _instance(artifact: Artifact, device: Device | None) -> Instance | None:
    return device.open(artifact) if device else artifact.context()


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
    with ThreadPoolExecutor(1) as beside:
        for i, layer in enumerate(layers):
            row, evidence = run.check(layer, beside)
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
    """Two instances of the program: one that runs as a whole, and one whose layers run alone on reference inputs."""

    def __init__(
        self,
        artifact: Artifact,
        graph: Graph,
        feeds: Arrays,
        known: Accumulated,
        computed: Computed,
        whole: Instance,
        alone: Instance,
    ) -> None:
        self.graph, self.known, self.computed = graph, known, computed
        self.evaluator = Evaluator(graph)
        self.values = Values(graph, feeds)
        self.whole, self.alone = whole, alone
        self.written: dict[str, int] = {}
        self._names, self._steps = tuple(artifact.outputs), len(artifact.manifest["steps"])
        self._inputs = [np.array(feeds[v], order="C") for v in artifact.inputs]
        for instance in (whole, alone):
            instance.bind(self._inputs)

    def outputs(self) -> dict[str, np.ndarray]:
        """Those of one more run, from its beginning to its end."""
        self.whole.bind(self._inputs)
        self.whole.run_steps(0, self._steps)
        return dict(zip(self._names, self.whole.outputs(), strict=True))

    def check(self, layer: _Layer, beside: Executor) -> tuple[Layer, Evidence]:
        """Check one layer; ``beside`` runs it in the one instance while it runs in the other."""
        advanced = beside.submit(self._advance, layer)
        local = self._reference(layer)
        bounds = region_bounds(self.evaluator, layer.nodes, local, self.computed)
        got = self._alone(layer, local)
        fault, reached = advanced.result()
        isolated, accumulated = [], []
        for v in layer.outputs:
            floor = smallest(self.graph.type(v).dtype) if not _exact(bounds[v]) else 0.0
            isolated.append(compare(got[v], local[v], np.maximum(bounds[v], floor)))
            allowed, ignore = self.known.tolerances[v], self.known.unstable.get(v)
            accumulated.append(compare(reached[v], local[v], allowed, ignore))
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
        return {v: self.alone.read(v) for v in layer.outputs}

    def _write(self, value: str, array: np.ndarray) -> None:
        if value not in self.graph.inputs:
            self.alone.write(value, array)

    def _advance(self, layer: _Layer) -> tuple[str, dict[str, np.ndarray]]:
        """Run a layer in the instance that runs as a whole: what is wrong before, and what it writes."""
        fault = self._changed(layer)
        if layer.step is not None:
            self.whole.run_steps(layer.step, layer.step + 1)
        for v in layer.outputs:
            self.written[v] = self.whole.checksum(v)
        return fault, {v: self.whole.read(v) for v in layer.outputs}

    def _changed(self, layer: _Layer) -> str:
        """Whether a value that the layer reads is no longer what its producer left: two values share memory wrongly."""
        for v in layer.inputs:
            if v in self.written and self.whole.checksum(v) != self.written[v]:
                return f"reads {v!r}, which another step has overwritten: the memory plan is wrong"
        return ""


def _by_ratio(difference: Difference) -> float:
    return difference.ratio


def _exact(bound: np.ndarray | float) -> bool:
    return isinstance(bound, float) and bound == 0.0
