"""How far a quantised graph is from the float graph, value by value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import Graph
from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.run import BUDGET_BYTES, Runner

__all__ = ["Error", "compare", "rounded_values"]


@dataclass
class Error:
    """The difference between a value and its quantised form, summed over samples.

    Args:
        signal, noise: sums of squares of the exact value, and of the difference.
        elements: how many were compared.
        cut: how many exact elements lie outside the range of the integers.
        rows, same_top: predictions compared, and those whose largest element is the same; for outputs that score
            classes.
    """

    signal: float = 0.0
    noise: float = 0.0
    elements: int = 0
    cut: int = 0
    rows: int = 0
    same_top: int = 0

    @property
    def sqnr_db(self) -> float:
        """Signal to quantisation noise, 10 log10 of the ratio of powers."""
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf

    @property
    def cut_share(self) -> float:
        return self.cut / max(self.elements, 1)

    @property
    def agreement(self) -> float | None:
        """Share of predictions with the same class."""
        return self.same_top / self.rows if self.rows else None

    def add(self, exact: np.ndarray, got: np.ndarray, parameters: QParams | None) -> None:
        x, y = exact.astype(np.float64), got.astype(np.float64)
        self.signal += float(np.sum(x * x))
        self.noise += float(np.sum((x - y) ** 2))
        self.elements += x.size
        if parameters is not None:
            low, high = parameters.range()
            half = parameters.scale / 2
            self.cut += int(np.count_nonzero((x < low - half) | (x > high + half)))
        elif x.ndim > 1 and x.shape[0] < x.size == x.shape[0] * max(x.shape[1:]):
            tops = (array.reshape(x.shape[0], -1).argmax(1) for array in (x, y))
            self.rows += x.shape[0]
            self.same_top += int(np.count_nonzero(np.equal(*tops)))


def compare(
    graph: Graph,
    quantized: Graph,
    samples: Iterable[Mapping[str, np.ndarray]],
    values: Mapping[str, QParams],
    *,
    progress: Callable[[int], None] | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> dict[str, Error]:
    """The errors of stored values and of the outputs, each with all errors before it.

    Both graphs run in ONNX Runtime, the quantised one as it is written, without the optimiser.

    Args:
        values: the parameters of stored values.
        progress: told the number of runs done.
    """
    rounded = rounded_values(quantized)
    names = {v: rounded[v] for v in values if v in rounded} | {v: v for v in graph.outputs if _is_float(graph, v)}
    exact = Runner(graph, list(names), budget_bytes=budget_bytes)
    got = Runner(quantized, list(names.values()), budget_bytes=budget_bytes, optimized=False)
    errors = {v: Error() for v in names}
    for done, feeds in enumerate(samples, 1):
        results = {n: a for piece in got(feeds) for n, a in piece.items()}
        for piece in exact(feeds):
            for value, array in piece.items():
                parameters = None if names[value] == value else values[value]
                errors[value].add(array, results[names[value]], parameters)
        if progress:
            progress(done)
    return errors


def rounded_values(quantized: Graph) -> dict[str, str]:
    """Value of the float graph -> what its integers stand for, in the quantised graph."""
    found = {}
    for node in quantized.nodes:
        if node.op.name == "QuantizeLinear":
            (back, *_) = quantized.consumers[node.outputs[0]]
            found[node.inputs[0]] = back.outputs[0]
    return found


def _is_float(graph: Graph, value: str) -> bool:
    return graph.type(value).dtype.is_float
