"""Which layers stay in floats so that the rest costs no more accuracy than allowed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.quantize.evaluate import Error
from edgesmith.quantize.run import Runner

__all__ = ["Agreement", "Choice", "Judge", "OutputError", "Top1", "choose_floats", "judge_for", "sensitivity"]

Feeds = Mapping[str, np.ndarray]
Build = Callable[[Collection[str]], Graph]
"""The quantised graph with these nodes in floats."""
Progress = Callable[[int, int], None]


class Judge(ABC):
    """Measures what a quantised graph loses against the float graph, on fixed samples; 0 is nothing.

    Args:
        graph: the float graph; its first output is judged.
        samples: runs that can be read several times.
    """

    what: str
    """The measure, in words, its unit with it."""

    def __init__(self, graph: Graph, samples: Iterable[Feeds]) -> None:
        self._samples = samples
        self._output = graph.outputs[0]
        self._exact = self._outputs(graph, optimized=True)

    def loss(self, graph: Graph) -> float:
        """The loss of a quantised graph, computed as it is written."""
        return self._loss(self._outputs(graph, optimized=False))

    def sqnr_db(self, graph: Graph) -> float:
        """Signal to quantisation noise at the output."""
        error = Error()
        error.add(self._exact, self._outputs(graph, optimized=False), None)
        return error.sqnr_db

    @abstractmethod
    def _loss(self, got: np.ndarray) -> float:
        """The loss of outputs, one row for each run."""

    def _outputs(self, graph: Graph, *, optimized: bool) -> np.ndarray:
        runner = Runner(graph, [self._output], optimized=optimized)
        return np.stack([piece[self._output] for feeds in self._samples for piece in runner(feeds)])

    @staticmethod
    def classes(outputs: np.ndarray) -> np.ndarray:
        """The class with the highest score, for each sample of all runs (runs, batch, ...)."""
        return np.asarray(outputs.reshape(*outputs.shape[:2], -1).argmax(axis=-1).reshape(-1))


class Top1(Judge):
    """Points of top-1 accuracy lost on labelled samples."""

    what = "points of top-1 accuracy"

    def __init__(self, graph: Graph, samples: Iterable[Feeds], labels: np.ndarray) -> None:
        super().__init__(graph, samples)
        found, runs = self.classes(self._exact), len(self._exact)
        if not found.size - found.size // runs < labels.size <= found.size:
            raise BadInput(f"{labels.size} labels for {found.size} samples", where="labels")
        self._labels = labels
        self.float_percent = self._percent(self._exact)

    def _loss(self, got: np.ndarray) -> float:
        return self.float_percent - self._percent(got)

    def _percent(self, outputs: np.ndarray) -> float:
        """Top-1 accuracy; what filled up the last batch is left out."""
        return 100 * float(np.mean(self.classes(outputs)[: self._labels.size] == self._labels))


class Agreement(Judge):
    """Percent of samples whose class is another than in floats: no fewer than the points of accuracy lost."""

    what = "% of predictions changed"

    def _loss(self, got: np.ndarray) -> float:
        return 100 * float(np.mean(self.classes(got) != self.classes(self._exact)))


class OutputError(Judge):
    """Root mean square of the error at the output, in percent of that of the output."""

    what = "% relative error of the output"

    def _loss(self, got: np.ndarray) -> float:
        exact = self._exact.astype(np.float64)
        power = float(np.sum(exact**2))
        return 100 * float(np.sqrt(np.sum((exact - got) ** 2) / power)) if power else 0.0


def judge_for(graph: Graph, samples: Iterable[Feeds], labels: np.ndarray | None) -> Judge:
    """The measure that goes with what is known: labels, scores of classes, or neither."""
    if labels is not None:
        return Top1(graph, samples, labels)
    shape = graph.type(graph.outputs[0]).shape
    scores = len(shape) > 1 and 1 < max(shape[1:]) == int(np.prod(shape[1:]))
    return Agreement(graph, samples) if scores else OutputError(graph, samples)


@dataclass(frozen=True)
class Choice:
    """Layers that stay in floats.

    Args:
        floats: names of the nodes.
        loss: what is lost with them in floats, and ``before`` with none.
        met: whether ``loss`` is within the budget.
        what: the measure.
    """

    floats: tuple[str, ...]
    loss: float
    before: float
    met: bool
    what: str


def sensitivity(
    build: Build, names: Sequence[str], judge: Judge, *, alone: bool = True, progress: Progress | None = None
) -> dict[str, float]:
    """SQNR at the output in dB for each layer: when it alone is quantised, or when all others are.

    Args:
        build: see ``Build``; called with the nodes that stay in floats.
        names: all layers that can be quantised.
        alone: whether only the layer itself is quantised, or all but the layer.
    """
    found = {}
    for done, name in enumerate(names, 1):
        floats = [n for n in names if n != name] if alone else [name]
        found[name] = judge.sqnr_db(build(floats))
        if progress:
            progress(done, len(names))
    return found


def choose_floats(build: Build, ranked: Callable[[], Sequence[str]], judge: Judge, budget: float) -> Choice:
    """The fewest layers in floats that keep the loss within the budget, as far as a search finds them.

    A binary search finds how many of the most sensitive layers have to be floats; then each of them, the least
    sensitive first, becomes integers again where the budget allows it.

    Args:
        ranked: gives the layers, the most sensitive first; called if any is needed.
        budget: greatest loss, in the judge's unit.
    """
    before = judge.loss(build(()))
    if before <= budget:
        return Choice((), before, before, True, judge.what)
    order = ranked()
    low, high, loss = 0, len(order), 0.0
    while high - low > 1:
        middle = (low + high) // 2
        tried = judge.loss(build(order[:middle]))
        if tried <= budget:
            high, loss = middle, tried
        else:
            low = middle
    floats = list(order[:high])
    for name in reversed(order[:high]):
        fewer = [n for n in floats if n != name]
        tried = judge.loss(build(fewer))
        if tried <= budget:
            floats, loss = fewer, tried
    return Choice(tuple(floats), loss, before, loss <= budget, judge.what)
