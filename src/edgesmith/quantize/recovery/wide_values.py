"""Values whose rounding makes much of the noise at the outputs stay in floats, or 16 bits, where that costs little."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from edgesmith.ir import DType
from edgesmith.quantize.insert import quantized_products
from edgesmith.quantize.parameters import Parameters, QParams, Wide
from edgesmith.quantize.placement import Role, role, stored_values
from edgesmith.quantize.products import Product
from edgesmith.quantize.recovery.base import Draft, Evidence, Recovery, recovery
from edgesmith.quantize.recovery.output_noise import OutputNoise
from edgesmith.quantize.run import Runner
from edgesmith.quantize.scales import value_parameters, weight_parameters

__all__ = ["WideValues"]

MEASURED = 8
"""Runs by which the noise at the outputs is measured."""
WORTH = 3.0
"""A value is kept wide where it makes so many times as large a share of the noise that is left as of the work."""
ENOUGH = 1e-4
"""Share of the outputs' variance below which the noise is no reason to keep values wide: 40 dB."""
BYTE = 3
"""Multiplications of bytes that take about as long as a byte that is written to memory, or read."""


@recovery("wide-values")
class WideValues(Recovery):
    """Keeps values in floats (``Settings.wide``: in 16 bits) that make much noise at the outputs and save little work.

    Mostly they are few: the input, what the first layers compute, what an average sums up. Each is rounded alone, and
    the noise at the outputs is measured. Its work is that of the products that read it and of its bytes; values that
    only movement connects are one. The one with the most noise for its work is taken first, while its share of the
    noise that is left is at least three times its share of the work, and that noise is less than 40 dB below the
    outputs. All together are at most ``Settings.wide_work`` of the work. Products that read floats have float weights.
    """

    def improve(self, draft: Draft, evidence: Evidence) -> Draft:
        if draft.settings.activation_type.itemsize > 1 or not draft.settings.wide_work:
            return draft
        noise = OutputNoise(draft.exact, tuple(islice(evidence, MEASURED)))
        groups = _groups(draft)
        measured = {}
        for done, group in enumerate(groups, 1):
            measured[group] = sum(noise.of_value(v, draft.parameters.values[v]) for v in group.rounded)
            evidence.progress(done, len(groups))
        chosen = _chosen(measured, _work(draft, groups), draft.settings.wide_work)
        return _widened(draft, chosen, evidence) if chosen else draft


@dataclass(frozen=True)
class _Group:
    """Values that movement alone connects.

    Args:
        values: all of them, in topological order.
        rounded: those by which their rounding is measured: what arithmetic reads, once for each scale.
        readers: names of the products that read one of them.
    """

    values: tuple[str, ...]
    rounded: tuple[str, ...]
    readers: tuple[str, ...]


def _groups(draft: Draft) -> list[_Group]:
    """Of the values that are stored as integers."""
    graph, known = draft.exact, draft.parameters.values
    products = quantized_products(graph, draft.parameters)
    stored = [v for v in stored_values(graph, products.keys(), draft.settings) if v in known]
    members = {v: [v] for v in stored}
    for node in graph.nodes:
        if role(node.op) is Role.MOVE:
            joined = [v for v in (*node.read, *node.outputs) if v in members]
            whole = [m for part in {id(members[v]): members[v] for v in joined}.values() for m in part]
            members |= dict.fromkeys(whole, whole)
    found = []
    for part in {id(m): m for m in members.values()}.values():
        values = [v for v in stored if v in part]
        read = [v for v in values if any(role(r.op) is not Role.MOVE for r in graph.consumers[v])]
        readers = tuple(n for n, form in products.items() if form.input in part)
        found.append(_Group(tuple(values), tuple({known[v].key: v for v in reversed(read)}.values()), readers))
    return found


def _work(draft: Draft, groups: Sequence[_Group]) -> dict[_Group, float]:
    """What of all the network's work gets slower with a group that is wide, as a share."""
    graph, products = draft.exact, quantized_products(draft.exact, draft.parameters)
    bytes_more = draft.settings.wide.itemsize - 1

    def multiplications(form: Product) -> int:
        return graph.type(form.node.outputs[0]).size * form.weights.size // form.channels

    def moved(values: Collection[str]) -> int:
        """Elements that are written and read; inputs of the network are read as what they are."""
        return sum(2 * graph.type(v).size for v in values if v not in graph.inputs)

    def weights(forms: Collection[Product]) -> int:
        return sum(f.weights.size for f in forms)

    whole = sum(map(multiplications, products.values())) + BYTE * (
        weights(products.values()) + moved([v for group in groups for v in group.values])
    )
    found = {}
    for group in groups:
        forms = [products[n] for n in group.readers]
        more = moved(group.values) + (weights(forms) if draft.settings.wide.is_float else 0)
        found[group] = (sum(map(multiplications, forms)) + BYTE * bytes_more * more) / whole
    return found


def _chosen(noise: Mapping[_Group, float], work: Mapping[_Group, float], most: float) -> dict[_Group, Wide]:
    """The groups to keep wide, with their shares of noise and work."""
    everything = left = sum(noise.values())
    spent = 0.0
    found = {}
    for group in sorted(noise, key=lambda g: noise[g] / max(work[g], 1e-9), reverse=True):
        if left < ENOUGH or noise[group] < WORTH * work[group] * left:
            break
        if spent + work[group] <= most:
            found[group] = Wide(group.rounded[0], noise[group] / everything, work[group])
            spent, left = spent + work[group], left - noise[group]
    return found


def _widened(draft: Draft, chosen: Mapping[_Group, Wide], evidence: Evidence) -> Draft:
    known, wide = draft.parameters, {v: why for group, why in chosen.items() for v in group.values}
    values: dict[str, QParams] = {v: q for v, q in known.values.items() if v not in wide}
    weights = {n: q for n, q in known.weights.items() if all(n not in g.readers for g in chosen)}
    if not draft.settings.wide.is_float:
        values |= _in_16_bits(draft, chosen, evidence)
        products = quantized_products(draft.graph, known)
        for name in (n for group in chosen for n in group.readers):
            form = products[name]
            weights[name] = weight_parameters(form, values[form.input], draft.settings)
    integers = {n: a for n, a in known.integers.items() if n in weights}
    return replace(draft, parameters=Parameters(values, weights, integers, {**known.wide, **wide}))


def _in_16_bits(draft: Draft, groups: Collection[_Group], evidence: Evidence) -> Iterator[tuple[str, QParams]]:
    """The parameters of wide values, one for each group: twice the numbers that were seen fit."""
    values = [v for group in groups for v in group.values]
    largest = dict.fromkeys(values, 0.0)
    runner = Runner(draft.exact, values)
    for feeds in evidence:
        for piece in runner(feeds):
            for value, x in piece.items():
                largest[value] = max(largest[value], float(abs(x).max()))
    power_of_two = draft.settings.power_of_two
    for group in groups:
        highest = 2 * max(largest[v] for v in group.values)
        shared = value_parameters((-highest, highest), DType.I16, symmetric=True, power_of_two=power_of_two)
        yield from ((v, shared) for v in group.values)
