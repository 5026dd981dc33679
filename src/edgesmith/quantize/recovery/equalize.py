"""Channels scaled so that they fill the range of their tensor evenly, in activations and in weights."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgesmith.ir import Graph, Node, Patch, apply
from edgesmith.ops.clip import Clip
from edgesmith.ops.conv import Conv
from edgesmith.ops.relu import Relu
from edgesmith.ops.variadic import Min
from edgesmith.passes.editing import Names
from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.products import Product, product
from edgesmith.quantize.recovery.base import Evidence, Recovery, recovery
from edgesmith.quantize.recovery.channel_paths import Path, scalable_paths
from edgesmith.quantize.recovery.output_noise import OutputNoise
from edgesmith.quantize.run import Runner
from edgesmith.quantize.scales import activation_parameters, weight_parameters
from edgesmith.quantize.settings import Settings

__all__ = ["Equalize"]

SWEEPS = 2
SPREAD = 2.0**8
"""Most times that a channel is taken to be smaller than the largest one."""
EXPONENTS = tuple(itertools.product((0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.25, 0.5)))
"""Exponents of a channel's activations, of the weights that read it (inverse) and of those that make it."""
MEASURED = 8
"""Runs by which the noise at the outputs is measured."""


@recovery("equalize")
class Equalize(Recovery):
    """Cross-layer equalisation: output channels of a convolution are divided by factors, its readers multiply by them.

    Relu, LeakyRelu, pools and Concat may lie between; an upper bound (Relu6) becomes one for each channel, which
    disappears where the integers' range implies it (``implied_bounds``). The factors are powers of two, so that the
    float network computes exactly the same. They are chosen by the noise that they let expect at the outputs, over a
    grid of exponents of the channels' largest activations and weights: what each value and each layer's weights bring
    there is measured, rounded alone and unscaled, and the factors multiply it by as much as they do the rounding error
    of the layer's results. So activations, whose errors differ from place to place and average out, count for less
    than weights, whose errors do not. With one scale for all weights, square roots of the ratio of weights are among
    the candidates, the rule of the source; with a scale for each channel it is the activations that gain.

    Sources: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019, section 4.1;
    the choice by exponents after Xiao et al., SmoothQuant, 2023, and Lin et al., AWQ, 2024.
    """

    def prepare(self, graph: Graph, settings: Settings, evidence: Evidence) -> Graph:
        paths = scalable_paths(graph)
        if not paths:
            return graph
        statistics = _statistics(graph, paths, evidence)
        noise = OutputNoise(graph, tuple(itertools.islice(evidence, MEASURED)))
        return _Equalizer(graph, paths, settings, statistics, noise).equalized()


@dataclass(frozen=True, eq=False)
class _Channels:
    """What the channels of a value are on calibration data: largest magnitude and mean square, each (channels,).

    ``lowest`` is the least of all elements, and 0 at most.
    """

    largest: np.ndarray
    power: np.ndarray
    lowest: float


def _statistics(graph: Graph, paths: Sequence[Path], evidence: Evidence) -> dict[str, _Channels]:
    """Of the inputs of all sources and sinks."""
    names = {p.source for p in paths} | {s.node for p in paths for s in p.sinks}
    values = list(dict.fromkeys(n.inputs[0] for n in graph.nodes if n.name in names))
    largest = {v: np.zeros(graph.type(v).shape[1]) for v in values}
    power = {v: np.zeros(graph.type(v).shape[1]) for v in values}
    lowest = dict.fromkeys(values, 0.0)
    runner = Runner(graph, values)
    for done, feeds in enumerate(evidence, 1):
        for piece in runner(feeds):
            for value, x in piece.items():
                others = (0, *range(2, x.ndim))
                np.maximum(largest[value], np.abs(x).max(axis=others), out=largest[value])
                lowest[value] = min(lowest[value], float(x.min()))
                power[value] += np.square(x, dtype=np.float64).mean(axis=others) / evidence.used
        evidence.progress(done, evidence.used)
    return {v: _Channels(largest[v], power[v], lowest[v]) for v in values}


class _Equalizer:
    """The factors of all paths, and the graph with them."""

    def __init__(
        self,
        graph: Graph,
        paths: Sequence[Path],
        settings: Settings,
        statistics: Mapping[str, _Channels],
        noise: OutputNoise,
    ) -> None:
        self._graph, self._paths, self._settings, self._statistics = graph, paths, settings, statistics
        self._forms: dict[str, Product] = {}
        for node in graph.nodes:
            form = product(graph, node) if isinstance(node.op, Conv) else None
            if isinstance(form, Product):
                self._forms[node.name] = form
        self._out = {n: np.ones(f.channels) for n, f in self._forms.items()}
        self._in = {n: np.ones(graph.type(f.input).shape[1]) for n, f in self._forms.items()}

        first, last = activation_parameters((-1.0, 1.0), settings).limits
        self._levels, self._half = last - first, settings.largest_weight
        self._by_value, self._by_weights = self._measured(noise)

    def _measured(self, noise: OutputNoise) -> tuple[dict[str, float], dict[str, float]]:
        """Noise at the outputs as a multiple of that in results of layers: from each input, each layer's weights.

        Inputs by the name of the value, weights by that of the node; unscaled both.
        """
        values: dict[str, float] = {}
        weights: dict[str, float] = {}
        forms = [self._forms[n] for n in dict.fromkeys(s.node for p in self._paths for s in p.sinks)]
        for value in dict.fromkeys(f.input for f in forms):
            here = sum(self._from_input(f.node.name) for f in forms if f.input == value)
            values[value] = noise.of_value(value, self._unscaled(value)) / here if here else 0.0
        if not self._settings.per_channel:
            forms += [self._forms[p.source] for p in self._paths if self._forms[p.source] not in forms]
        for form in forms:
            here = self._from_weights(form.node.name)
            parameters = weight_parameters(form, self._unscaled(form.input), self._settings)
            weights[form.node.name] = noise.of_weights(form, parameters) / here if here else 0.0
        return values, weights

    def _unscaled(self, value: str) -> QParams:
        seen = self._statistics[value]
        return activation_parameters((seen.lowest, float(seen.largest.max())), self._settings)

    def equalized(self) -> Graph:
        """The graph with the best factors."""
        for _, path in itertools.product(range(SWEEPS), self._paths):
            self._set(path, min(self._candidates(path), key=lambda factors: self._noise(path, factors)))
        return self._rewritten()

    def _set(self, path: Path, factors: np.ndarray) -> None:
        self._out[path.source] = factors
        for sink in path.sinks:
            self._in[sink.node][sink.first : sink.first + path.channels] = factors

    def _candidates(self, path: Path) -> list[np.ndarray]:
        """Factors to choose from, powers of two; the first are 1."""
        floor = 1 / SPREAD
        active = np.max([self._seen(path, s.node, s.first).largest for s in path.sinks], axis=0)
        readers = np.max([self._read(path, s.node, s.first) for s in path.sinks], axis=0)
        makers = np.abs(self._forms[path.source].weights).reshape(path.channels, -1).max(axis=1)
        if not all(0 < a.max() < np.inf for a in (active, readers, makers)):
            return [np.ones(path.channels)]
        sizes = [np.log2(np.maximum(a / a.max(), floor)) for a in (active, readers, makers)]
        found = [np.ones(path.channels)]
        for a, r, m in EXPONENTS:
            factors = np.exp2(np.rint(a * sizes[0] - r * sizes[1] + m * sizes[2]))
            if path.bounds:
                highest = min(path.bounds) / float(np.max(active / factors))
                factors = np.minimum(factors, np.exp2(np.floor(np.log2(highest))))
            found.append(factors)
        return found

    def _seen(self, path: Path, sink: str, first: int) -> _Channels:
        """The path's own channels in the input of a sink, unscaled."""
        all_channels = self._statistics[self._forms[sink].input]
        own = slice(first, first + path.channels)
        return _Channels(all_channels.largest[own], all_channels.power[own], all_channels.lowest)

    def _read(self, path: Path, sink: str, first: int) -> np.ndarray:
        """The largest weight that reads each channel, unscaled."""
        largest = np.abs(self._by_input(sink)).max(axis=(1, 3)).reshape(-1)
        return np.asarray(largest[first : first + path.channels])

    def _by_input(self, name: str) -> np.ndarray:
        """Weights as (groups, output channels of a group, input channels of a group, taps)."""
        form = self._forms[name]
        assert isinstance(form.node.op, Conv)
        m, c = form.weights.shape[:2]
        return form.weights.reshape(form.node.op.group, m // form.node.op.group, c, -1)

    def _noise(self, path: Path, factors: np.ndarray) -> float:
        """Noise to expect at the outputs when the path has these factors, as far as it depends on them."""
        before = self._out[path.source]
        self._set(path, factors)
        noise = sum(
            self._by_value[self._forms[s.node].input] * self._from_input(s.node)
            + self._by_weights[s.node] * self._from_weights(s.node)
            for s in path.sinks
        )
        if not self._settings.per_channel:
            noise += self._by_weights[path.source] * self._from_weights(path.source)
        self._set(path, before)
        return noise

    def _from_input(self, name: str) -> float:
        """Noise in the results of a convolution from its rounded input, in units of the float network."""
        factors, seen = self._in[name], self._statistics[self._forms[name].input]
        gain = np.square(self._by_input(name)).sum(axis=(1, 3)).reshape(-1)
        step = float(np.max(seen.largest / factors)) / self._levels
        return float(step**2 / 12 * np.sum(gain * factors**2))

    def _from_weights(self, name: str) -> float:
        """Noise in the results of a convolution from its rounded weights, in units of the float network."""
        steps = self._steps(name)
        if not self._settings.per_channel:
            steps = np.full_like(steps, steps.max())
        by_group = (steps * self._out[name]).reshape(self._by_input(name).shape[0], -1) ** 2 / 12
        return float(np.sum(by_group * self._terms_power(name)[:, None]))

    def _steps(self, name: str) -> np.ndarray:
        """Distance of two integers of the scaled weights, for each output channel."""
        weights = self._by_input(name)
        scaled = np.abs(weights) * self._in[name].reshape(weights.shape[0], 1, -1, 1)
        return np.asarray(scaled.max(axis=(2, 3)).reshape(-1) / self._out[name] / self._half)

    def _terms_power(self, name: str) -> np.ndarray:
        """Sum of the mean squares of the scaled inputs of a sum, for each group."""
        weights = self._by_input(name)
        power = self._statistics[self._forms[name].input].power / self._in[name] ** 2
        return np.asarray(power.reshape(weights.shape[0], -1).sum(axis=1) * weights.shape[3])

    def _rewritten(self) -> Graph:
        """The graph with scaled weights and biases; scaled values have other names."""
        names = Names(self._graph)
        factors: dict[str, np.ndarray] = {}
        for path in self._paths:
            for value, first in path.values:
                channels = factors.setdefault(value, np.ones(self._graph.type(value).shape[1]))
                channels[first : first + path.channels] = self._out[path.source]
        renamed = {v: names(f"{v}:equalized") for v, f in factors.items() if (f != 1).any()}
        edit = _Edit(names, renamed, factors)
        for node in self._graph.nodes:
            if node.name in self._forms:
                edit.convolution(self._forms[node.name], self._by_input(node.name), self._in, self._out)
            elif any(v in renamed for v in (*node.inputs, *node.outputs)):
                edit.between(node)
        return apply(self._graph, [edit.patch()]) if edit.insert else self._graph


class _Edit:
    """The nodes that change."""

    def __init__(self, names: Names, renamed: Mapping[str, str], factors: Mapping[str, np.ndarray]) -> None:
        self._names, self._renamed, self._factors = names, renamed, factors
        self.insert: list[Node] = []
        self._removed: set[str] = set()
        self._constants: dict[str, np.ndarray] = {}

    def patch(self) -> Patch:
        return Patch("equalize", frozenset(self._removed), tuple(self.insert), self._constants)

    def convolution(
        self, form: Product, weights: np.ndarray, into: Mapping[str, np.ndarray], out: Mapping[str, np.ndarray]
    ) -> None:
        """Give a convolution the weights that go with scaled inputs and outputs."""
        node = form.node
        up, down = into[node.name], out[node.name]
        if (up == 1).all() and (down == 1).all():
            return
        scaled = weights * up.reshape(weights.shape[0], 1, -1, 1) / down.reshape(*weights.shape[:2], 1, 1)
        inputs = [self._renamed.get(node.inputs[0], node.inputs[0])]
        inputs.append(self._constant(f"{node.inputs[1]}:equalized", scaled.reshape(form.weights.shape)))
        if form.bias is not None:
            inputs.append(self._constant(f"{node.inputs[2]}:equalized", form.bias / down))
        self._replace(node, replace(node, inputs=tuple(inputs), outputs=self._outputs(node)))

    def between(self, node: Node) -> None:
        """Let an operator read and write scaled values."""
        inputs = tuple(self._renamed.get(v, v) for v in node.inputs)
        changed = replace(node, inputs=inputs, outputs=self._outputs(node))
        if not isinstance(node.op, Clip) or node.op.high is None:
            self._replace(node, changed)
            return
        (result,) = changed.outputs
        factors = self._factors[node.outputs[0]]
        bounds = self._constant(f"{node.name}:bounds", (node.op.high / factors)[:, None, None])
        inner = inputs[0]
        if node.op.low is not None:
            inner = self._names(f"{result}:rectified")
            self.insert.append(Node(self._names(f"{node.name}:rectified"), Relu(), inputs[:1], (inner,), node.origin))
        self._replace(node, replace(changed, op=Min(), inputs=(inner, bounds)))

    def _outputs(self, node: Node) -> tuple[str, ...]:
        return tuple(self._renamed.get(v, v) for v in node.outputs)

    def _constant(self, base: str, array: np.ndarray) -> str:
        name = self._names(base)
        self._constants[name] = np.ascontiguousarray(array, np.float32)
        return name

    def _replace(self, node: Node, changed: Node) -> None:
        self._removed.add(node.name)
        self.insert.append(changed)
