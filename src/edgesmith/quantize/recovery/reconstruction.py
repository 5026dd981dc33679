"""How well a layer with other weights gives the float layer's results, when its inputs are the quantised ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgesmith.ir import Graph
from edgesmith.quantize.evaluate import rounded_values
from edgesmith.quantize.insert import quantized_products
from edgesmith.quantize.products import Product, product
from edgesmith.quantize.recovery.base import Draft, Evidence
from edgesmith.quantize.recovery.linear import Linear
from edgesmith.quantize.recovery.stepwise import Stepwise

__all__ = ["Layers", "Reconstruction", "products_in_order"]

ROWS = (4096, 16384)
"""Least and most places of the output that are looked at, over all runs; between them four for each term of a sum."""
BUDGET_BYTES = 1 << 30
"""Most memory for the values of all runs, about."""
LEAST_RUNS = 8


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The squared error of a layer's results as a quadratic form in its weights.

    Where the layer takes a bias, the moments are centred: the error is that with the best bias for the weights.

    Args:
        gram: (g, k, k) mean products of the quantised inputs.
        cross: (g, m, k) mean products of the float results with the quantised inputs, in f64 as all of these.
        power: (g, m) mean squares of the float results.
        mean_in, mean_out: (g, k) and (g, m) means of inputs and results.
    """

    linear: Linear
    gram: np.ndarray
    cross: np.ndarray
    power: np.ndarray
    mean_in: np.ndarray
    mean_out: np.ndarray

    @property
    def form(self) -> Product:
        return self.linear.form

    @property
    def finite(self) -> bool:
        """Whether all inputs and results were finite, so that the moments mean something."""
        return bool(np.isfinite(self.mean_out).all() and np.isfinite(self.power).all() and np.isfinite(self.gram).all())

    def error(self, weights: np.ndarray) -> np.ndarray:
        """Mean squared error of each channel's results, (g, m), for weights (g, m, k)."""
        fitted = np.einsum("gmk,gmk->gm", weights @ self.gram - 2 * self.cross, weights)
        return np.asarray(np.maximum(fitted + self.power, 0.0))

    def slope(self, weights: np.ndarray) -> np.ndarray:
        """Derivative of ``error``, (g, m, k)."""
        return np.asarray(2 * (weights @ self.gram - self.cross))

    def bias(self, weights: np.ndarray) -> np.ndarray:
        """The bias of the node that fits weights (g, m, k) best, one for each output channel."""
        rest = self.mean_out - np.einsum("gmk,gk->gm", weights, self.mean_in)
        return np.asarray(rest.reshape(-1) * self.form.gain / self.form.bias_gain)


def products_in_order(draft: Draft) -> list[str]:
    """Names of the nodes that multiply integers, in topological order."""
    found = quantized_products(draft.graph, draft.parameters)
    return [n.name for n in draft.graph.nodes if n.name in found]


class Layers:
    """The forms of one layer after the other, in topological order.

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

    def reconstruction(self, draft: Draft, name: str) -> Reconstruction:
        """The form of a node, with the layers before it as the draft quantises them (asymmetric reconstruction).

        Args:
            draft: the same from call to call, but for this layer and later ones.
        """
        graph = draft.quantized()
        form = product(draft.graph, draft.graph.nodes[draft.graph.position[name]])
        assert isinstance(form, Product)
        linear = Linear(form)
        given = self._got.value(graph, rounded_values(graph)[form.input])
        wanted = self._exact.value(self._exact_graph, form.node.outputs[0])
        least, most = ROWS
        count = -(-int(np.clip(4 * linear.terms, least, most)) // len(given))
        rng = np.random.default_rng(self._evidence.seed)
        sums = _Sums(linear)
        for x, y in zip(given, wanted, strict=True):
            places = linear.places(y.shape, count, rng)
            sums.add(linear.inputs(x, places), linear.outputs(y, places) / form.gain)
        return sums.reconstruction()


class _Sums:
    """Moments, summed in f64 over runs."""

    def __init__(self, linear: Linear) -> None:
        g, k = linear.groups, linear.terms
        m = linear.form.channels // g
        self._linear, self._count = linear, 0
        self._gram, self._cross = np.zeros((g, k, k)), np.zeros((g, m, k))
        self._power, self._in, self._out = np.zeros((g, m)), np.zeros((g, k)), np.zeros((g, m))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        x, y = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32)
        self._count += x.shape[1]
        with np.errstate(invalid="ignore", over="ignore"):  # see ``Reconstruction.finite``
            self._gram += x.transpose(0, 2, 1) @ x
            self._cross += y.transpose(0, 2, 1) @ x
        self._power += np.square(y, dtype=np.float64).sum(axis=1)
        self._in += x.sum(axis=1, dtype=np.float64)
        self._out += y.sum(axis=1, dtype=np.float64)

    def reconstruction(self) -> Reconstruction:
        n = self._count
        gram, cross, power = self._gram / n, self._cross / n, self._power / n
        mean_in, mean_out = self._in / n, self._out / n
        if self._linear.takes_bias:
            with np.errstate(invalid="ignore", over="ignore"):  # see ``finite``
                gram -= mean_in[:, :, None] * mean_in[:, None, :]
                cross -= mean_out[:, :, None] * mean_in[:, None, :]
                power -= mean_out**2
        return Reconstruction(self._linear, gram, cross, power, mean_in, mean_out)
