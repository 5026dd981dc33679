"""Weights rounded one after the other, the error of each made up for by those that follow."""

from __future__ import annotations

import numpy as np

from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.products import Product, product
from edgesmith.quantize.recovery.base import Draft, Evidence, Recovery, recovery
from edgesmith.quantize.recovery.linear import Linear
from edgesmith.quantize.recovery.reconstruction import Layers, Reconstruction, products_in_order
from edgesmith.quantize.recovery.rounding import dequantized_weights, with_integers

__all__ = ["Gptq", "rounded"]

DAMPING = 0.01
"""Added to each input's variance, as a share of the mean one, so that weights do not run after chance correlations."""
ROUNDING = 2.0**-20
"""Most error of an element of the covariance, as a share of a product of two inputs."""
MOST_TERMS = 8192
"""Longest sum whose covariance is looked at; it has a number for each pair of terms."""
BLOCK = 64
"""Weights of a sum after which the error is passed on to all that follow, by one matrix product."""


@recovery("gptq")
class Gptq(Recovery):
    """Rounds the weights of a sum in turn and moves those that follow so that the layer's results stay what they were.

    The inputs are those of the quantised network, whose covariance says how one weight can stand in for another. The
    last step is ``bias-correction``'s: the bias makes the mean of each output channel that of the float network. Layers
    whose integers are chosen already keep them and get the bias alone, and so do sums of so many terms that their
    covariance would fill the memory.

    Source: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, 2022,
    which is Hassibi and Stork's optimal brain surgeon in a fixed order: inputs with the largest variance come first.
    Unlike there the covariance is centred, as the bias takes up the mean.
    """

    def improve(self, draft: Draft, evidence: Evidence) -> Draft:
        names, layers = products_in_order(draft), Layers(draft.exact, evidence)
        for done, name in enumerate(names, 1):
            fixed = name in draft.parameters.integers or _terms(draft, name) > MOST_TERMS
            found = layers.means(draft, name) if fixed else layers.reconstruction(draft, name)
            if found.finite:
                if isinstance(found, Reconstruction):
                    draft = with_integers(draft, name, rounded(found, draft.parameters.weights[name]))
                if found.linear.takes_bias:
                    draft = draft.with_bias(name, found.bias(dequantized_weights(draft, found.linear)))
            evidence.progress(done, len(names))
        return draft


def _terms(draft: Draft, name: str) -> int:
    """Of each sum of a node."""
    form = product(draft.graph, draft.graph.nodes[draft.graph.position[name]])
    assert isinstance(form, Product)
    return Linear(form).terms


def rounded(found: Reconstruction, parameters: QParams) -> np.ndarray:
    """The integers of a layer's weights, shaped like them; no channel has a larger error than rounded to nearest."""
    linear, (first, last) = found.linear, parameters.limits
    scale, zero = (linear.by_channel(a.astype(np.float64)) for a in (parameters.scale, parameters.zero))
    steps = linear.matrix(parameters.steps(linear.form.weights))
    nearest = linear.matrix(parameters.quantize(linear.form.weights)).astype(np.float64)
    in_turn = _in_turn(steps, _damped(found), first, last)
    errors = [found.error((integers - zero) * scale) for integers in (in_turn, nearest)]
    best = np.where((errors[0] < errors[1])[..., None], in_turn, nearest)
    return linear.tensor(best).astype(parameters.dtype.numpy)


def _damped(found: Reconstruction) -> np.ndarray:
    """The covariance of the inputs (g, k, k), positive definite whatever the rounding of its f32 products."""
    terms = found.gram.shape[-1]
    variance = np.maximum(np.einsum("gkk->gk", found.gram), 0.0)
    lost = terms * ROUNDING * (variance + np.square(found.mean_in)).mean(axis=1)
    damping = np.maximum(DAMPING * variance.mean(axis=1) + lost, np.finfo(np.float32).tiny)
    return np.asarray(found.gram + damping[:, None, None] * np.eye(terms))


def _in_turn(steps: np.ndarray, gram: np.ndarray, first: int, last: int) -> np.ndarray:
    """Integers from ``first`` to ``last`` for the numbers (g, m, k) given the covariance of their factors (g, k, k)."""
    groups, channels, terms = steps.shape
    order = np.argsort(-np.einsum("gkk->gk", gram), axis=1, kind="stable")
    at = np.arange(groups)[:, None, None]
    by_variance = gram[at, order[:, :, None], order[:, None, :]]
    passed_on = np.linalg.cholesky(np.linalg.inv(by_variance)).transpose(0, 2, 1)
    rest = np.take_along_axis(steps, order[:, None, :], axis=2)
    chosen = np.empty_like(rest)
    for begin in range(0, terms, BLOCK):
        end = min(begin + BLOCK, terms)
        errors = np.empty((groups, channels, end - begin))
        for i in range(begin, end):
            chosen[..., i] = np.clip(np.rint(rest[..., i]), first, last)
            errors[..., i - begin] = (rest[..., i] - chosen[..., i]) / passed_on[:, None, i, i]
            rest[..., i + 1 : end] -= errors[..., i - begin, None] * passed_on[:, None, i, i + 1 : end]
        rest[..., end:] -= errors @ passed_on[:, begin:end, end:]
    integers = np.empty_like(chosen)
    np.put_along_axis(integers, np.broadcast_to(order[:, None, :], integers.shape), chosen, axis=2)
    return integers
