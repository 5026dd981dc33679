"""Ranges of values by the error that their rounding causes in the layers that read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgesmith.quantize.insert import quantized_products
from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.recovery.base import Draft, Evidence, Recovery, recovery
from edgesmith.quantize.recovery.linear import Linear
from edgesmith.quantize.run import Runner
from edgesmith.quantize.scales import activation_parameters, weight_parameters

__all__ = ["ClipActivations"]

SHARES = tuple(float(s) for s in 0.96 ** np.arange(24))
"""Shares of the range that are tried: from all to two fifths."""
ROWS = 1024
"""Places of each layer's output that are looked at, over all runs."""


@recovery("clip-activations")
class ClipActivations(Recovery):
    """Narrows the range of a value where the layers that read it become more accurate by that.

    What is cut off in one channel costs nothing where the weights that read it are small, so the error of the output
    knows more than that of the value: the sum of squared differences of the results of all Conv, Gemm and MatMul nodes
    that read values with these parameters decides (values that movement connects share them). The idea is that of
    Nagel et al., A White Paper on Neural Network Quantization, 2021, section 3.1.
    """

    def improve(self, draft: Draft, evidence: Evidence) -> Draft:
        if draft.settings.power_of_two:
            return draft
        readers = {n: Linear(f) for n, f in quantized_products(draft.graph, draft.parameters).items()}
        groups: dict[object, list[str]] = {}
        for value, parameters in draft.parameters.values.items():
            groups.setdefault(parameters.key, []).append(value)
        values = dict(draft.parameters.values)
        for done, members in enumerate(groups.values(), 1):
            linears = [r for r in readers.values() if r.form.input in members]
            if linears:
                chosen = _narrowed(draft, values[members[0]], linears, evidence)
                values |= dict.fromkeys(members, chosen)
            evidence.progress(done, len(groups))
        weights = {n: weight_parameters(r.form, values[r.form.input], draft.settings) for n, r in readers.items()}
        return replace(draft, parameters=replace(draft.parameters, values=values, weights=weights))


def _narrowed(draft: Draft, parameters: QParams, readers: Sequence[Linear], evidence: Evidence) -> QParams:
    """The best of some narrower parameters of the values that ``readers`` read."""
    low, high = (float(bound) for bound in parameters.range())
    candidates = [parameters, *(activation_parameters((low * s, high * s), draft.settings) for s in SHARES[1:])]
    errors = np.zeros(len(candidates))
    for reader, rows in _inputs(draft, readers, evidence):
        weights = reader.matrix(reader.form.weights).transpose(0, 2, 1).astype(np.float64)
        for i, candidate in enumerate(candidates):
            wrong = (rows - candidate.dequantize(candidate.quantize(rows))) @ weights
            errors[i] += float(np.square(wrong).sum())
    return candidates[int(errors.argmin())]


def _inputs(draft: Draft, readers: Sequence[Linear], evidence: Evidence) -> Iterator[tuple[Linear, np.ndarray]]:
    """Inputs of sums of each reader, (g, places, k), run by run, in the float network."""
    rng = np.random.default_rng(evidence.seed)
    values = list(dict.fromkeys(r.form.input for r in readers))
    runner = Runner(draft.exact, values)
    for feeds in evidence:
        found: dict[str, np.ndarray] = {}
        for piece in runner(feeds):
            found |= piece
        for reader in readers:
            yield reader, _sampled(draft, reader, found, -(-ROWS // evidence.used), rng)


def _sampled(
    draft: Draft, reader: Linear, values: Mapping[str, np.ndarray], count: int, rng: np.random.Generator
) -> np.ndarray:
    shape = draft.exact.type(reader.form.node.outputs[0]).shape
    return reader.inputs(values[reader.form.input], reader.places(shape, count, rng))
