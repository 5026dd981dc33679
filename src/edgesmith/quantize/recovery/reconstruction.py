"""How well a layer with other weights gives the float layer's results, when its inputs are the quantised ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgesmith.ir import Graph
from edgesmith.quantize.evaluate import rounded_values
from edgesmith.quantize.insert import quantized_products
from edgesmith.quantize.products import Product, product
from edgesmith.quantize.recovery.base import Draft, Evidence
from edgesmith.quantize.recovery.linear import Linear
from edgesmith.quantize.recovery.stepwise import Stepwise

__all__ = ["Layers", "Means", "Reconstruction", "products_in_order"]

ROWS = (4096, 16384)
"""Least and most places of the output that are looked at, over all runs; between them four for each term of a sum."""
BUDGET_BYTES = 1 << 30
"""Most memory for the values of all runs, about."""
LEAST_RUNS = 8


@dataclass(frozen=True, eq=False)
class Means:
    """What a layer's inputs and results are on average.

    Args:
        mean_in: (g, k) means of the quantised inputs.
        mean_out: (g, m) means of the float results, both in f64.
    """

    linear: Linear
    mean_in: np.ndarray
    mean_out: np.ndarray

    @property
    def form(self) -> Product:
        return self.linear.form

    @property
    def finite(self) -> bool:
        """Whether all inputs and results were finite, so that the means say something."""
        return bool(np.isfinite(self.mean_out).all() and np.isfinite(self.mean_in).all())

    def bias(self, weights: np.ndarray) -> np.ndarray:
        """The bias of the node that fits weights (g, m, k) best, one for each output channel."""
        rest = self.mean_out - np.einsum("gmk,gk->gm", weights, self.mean_in)
        return np.asarray(rest.reshape(-1) * self.form.gain / self.form.bias_gain)


@dataclass(frozen=True, eq=False)
class Reconstruction(Means):
    """The squared error of a layer's results as a quadratic form in its weights.

    Where the layer takes a bias, the moments are centred: the error is that with the best bias for the weights.

    Args:
        gram: (g, k, k) mean products of the quantised inputs.
        cross: (g, m, k) mean products of the float results with the quantised inputs, in f64 as all of these.
        power: (g, m) mean squares of the float results.
    """

    gram: np.ndarray
    cross: np.ndarray
    power: np.ndarray

    @property
    def finite(self) -> bool:
        return super().finite and bool(np.isfinite(self.power).all() and np.isfinite(self.gram).all())

    def error(self, weights: np.ndarray) -> np.ndarray:
        """Mean squared error of each channel's results, (g, m), for weights (g, m, k)."""
        fitted = np.einsum("gmk,gmk->gm", weights @ self.gram - 2 * self.cross, weights)
        return np.asarray(np.maximum(fitted + self.power, 0.0))

    def slope(self, weights: np.ndarray) -> np.ndarray:
        """Derivative of ``error``, (g, m, k)."""
        return np.asarray(2 * (weights @ self.gram - self.cross))


def products_in_order(draft: Draft) -> list[str]:
    """Names of the nodes that multiply integers, in topological order."""
    found = quantized_products(draft.graph, draft.parameters)
    return [n.name for n in draft.graph.nodes if n.name in found]


class Layers:
    """What is known of one layer after the other, in topological order.

    Args:
        exact: the float graph.
        evidence: the runs are kept in memory with the values that later layers need, so fewer of them are used where
            values are large.
    """

    def __init__(self, exact: Graph, evidence: Evidence) -> None:
        largest = max(t.nbytes for t in exact.types.values())
        self._evidence = replace(evidence, most=max(LEAST_RUNS, min(evidence.most, BUDGET_BYTES // (4 * largest))))
        feeds = list(self._evidence)
        self._exact_graph, self._exact = exact, Stepwise(feeds, optimized=True)
        self._got = Stepwise(feeds, optimized=False)

    def means(self, draft: Draft, name: str) -> Means:
        """Those of a node, with the layers before it as the draft quantises them.

        Args:
            draft: the same from call to call, but for this layer and later ones.
        """
        linear, rows = self._rows(draft, name)
        sums = _Sums()
        for x, y in rows:
            sums.add(x, y)
        return Means(linear, *sums.means())

    def reconstruction(self, draft: Draft, name: str) -> Reconstruction:
        """The form of a node, with the layers before it as the draft quantises them (asymmetric reconstruction).

        Args:
            draft: the same from call to call, but for this layer and later ones.
        """
        linear, rows = self._rows(draft, name)
        sums, moments = _Sums(), _Moments(linear)
        for x, y in rows:
            sums.add(x, y)
            moments.add(x, y)
        means = sums.means()
        return Reconstruction(linear, *means, *moments.moments(*means))

    def _rows(self, draft: Draft, name: str) -> tuple[Linear, Iterator[tuple[np.ndarray, np.ndarray]]]:
        """Some of a node's quantised inputs (g, places, k) with its float results (g, places, m), run by run."""
        graph = draft.quantized()
        form = product(draft.graph, draft.graph.nodes[draft.graph.position[name]])
        assert isinstance(form, Product)
        linear = Linear(form)
        given = self._got.value(graph, rounded_values(graph)[form.input])
        wanted = self._exact.value(self._exact_graph, form.node.outputs[0])
        least, most = ROWS
        count = -(-int(np.clip(4 * linear.terms, least, most)) // len(given))
        rng = np.random.default_rng(self._evidence.seed)

        def rows() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for x, y in zip(given, wanted, strict=True):
                places = linear.places(y.shape, count, rng)
                yield linear.inputs(x, places), linear.outputs(y, places) / form.gain

        return linear, rows()


class _Sums:
    """Of inputs and results, in f64."""

    def __init__(self) -> None:
        self._count = 0
        self._in, self._out = np.zeros(()), np.zeros(())

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        self._count += x.shape[1]
        self._in = self._in + x.sum(axis=1, dtype=np.float64)
        self._out = self._out + y.sum(axis=1, dtype=np.float64)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """(g, k) of inputs and (g, m) of results."""
        return self._in / self._count, self._out / self._count


class _Moments:
    """Second moments, summed in f64 over runs."""

    def __init__(self, linear: Linear) -> None:
        g, k = linear.groups, linear.terms
        m = linear.form.channels // g
        self._linear, self._count = linear, 0
        self._gram, self._cross, self._power = np.zeros((g, k, k)), np.zeros((g, m, k)), np.zeros((g, m))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        x, y = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32)
        self._count += x.shape[1]
        with np.errstate(invalid="ignore", over="ignore"):  # see ``Reconstruction.finite``
            self._gram += x.transpose(0, 2, 1) @ x
            self._cross += y.transpose(0, 2, 1) @ x
        self._power += np.square(y, dtype=np.float64).sum(axis=1)

    def moments(self, mean_in: np.ndarray, mean_out: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``gram``, ``cross`` and ``power``, centred where the layer takes a bias."""
        gram, cross, power = (total / self._count for total in (self._gram, self._cross, self._power))
        if self._linear.takes_bias:
            with np.errstate(invalid="ignore", over="ignore"):  # see ``finite``
                gram -= mean_in[:, :, None] * mean_in[:, None, :]
                cross -= mean_out[:, :, None] * mean_in[:, None, :]
                power -= mean_out**2
        return gram, cross, power
