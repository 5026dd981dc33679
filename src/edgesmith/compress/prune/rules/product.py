"""Products of two values: matrix products, einsum, attention."""

from __future__ import annotations

import re
from dataclasses import replace
from string import ascii_letters
from typing import Any

import torch

from edgesmith.compress.prune.labels import FIXED
from edgesmith.compress.prune.propagation import Call, Param, Propagation
from edgesmith.compress.prune.rules.elementwise import combine
from edgesmith.compress.prune.rules.linear import linear
from edgesmith.compress.prune.rules.registration import rule

__all__ = ["contract"]


@rule("matmul", "bmm", "mm")
def _matmul(call: Call) -> Any:
    other = call.get(1, "mat2" if "mat2" in call.kwargs else "other")
    if isinstance(other, Param) and other.tensor.ndim == 2:
        return linear(call, other, None, reads=0)
    a, b = call.p.labels_of(call.args[0]), call.p.labels_of(other)
    if min(a.ndim, b.ndim) < 2:
        return call.opaque(f"{call.node.name}: a product with a vector")
    batch = ascii_letters[3 : 3 + max(a.ndim, b.ndim) - 2]
    left, right = batch[len(batch) - a.ndim + 2 :] + "ik", batch[len(batch) - b.ndim + 2 :] + "kj"
    return contract(call, a, b, left, right, batch + "ij").expand(call.out.sizes)


@rule("einsum")
def _einsum(call: Call) -> Any:
    equation = call.args[0].replace(" ", "") if isinstance(call.args[0], str) else ""
    values = _flat(call.args[1:])
    reads = _as_linear(equation)
    if reads is not None and len(values) == 2 and isinstance(values[1], Param):
        return linear(replace(call, args=(values[0],)), values[1], None, reads=reads)
    operands = [call.p.labels_of(value) for value in values]
    if len(operands) != 2 or "->" not in equation or "." in equation:
        return call.opaque(f"{call.node.name}: einsum {equation!r}")
    left, right = equation.split("->")[0].split(",")
    return contract(call, operands[0], operands[1], left, right, equation.split("->")[1]).expand(call.out.sizes)


def _as_linear(equation: str) -> int | None:
    """Which axis of the second operand is read, where the equation is that of a linear layer."""
    found = re.fullmatch(r"((?:\.\.\.)?\w*)(\w),(\w)(\w)->\1(\w)", equation)
    if found is None:
        return None
    before, read, *weight, made = found.groups()
    if sorted((read, made)) != sorted(weight) or read == made or made in before:
        return None
    return weight.index(read)


@rule("scaled_dot_product_attention")
def _attention(call: Call) -> Any:
    q, k, v = (call.input(i, name) for i, name in enumerate(("query", "key", "value")))
    if q.ndim != k.ndim or q.shape[:-2] != k.shape[:-2]:
        return call.opaque(f"{call.node.name}: attention with grouped queries")
    batch = ascii_letters[5 : 5 + q.ndim - 2]
    if call.p.attention == "head_dim" and call.get(6, "scale") is None and (q.ndim - 1) in call.p.labels.varying(q):
        call.p.labels.fix(q, f"{call.node.name} scales by the head dimension")
    scores = contract(call, q, k, batch + "ie", batch + "je", batch + "ij")
    mask = call.get(3, "attn_mask")
    if mask is not None:
        scores = combine(call.p, [scores, call.p.labels_of(mask)], call.node.name)
    scores = scores.expand(*q.shape[:-1], k.shape[-2])
    return contract(call, scores, v, batch + "ij", batch + "je", batch + "ie").expand(call.out.sizes)


def contract(call: Call, a: torch.Tensor, b: torch.Tensor, left: str, right: str, out: str) -> torch.Tensor:
    """Labels of ``einsum(left,right->out)``, with size 1 along axes without channels.

    Channels that are contracted go together in both operands; channels of an axis of the result pass. Where an axis
    came from splitting channels into heads, heads shrink rather than their dimensions (``Propagation.attention``).
    """
    p = call.p
    a, b = p.labels.canonical(a), p.labels.canonical(b)
    sizes = dict(zip(left + right, [*a.shape, *b.shape], strict=True)) | {
        letter: max(a.shape[left.index(letter)], b.shape[right.index(letter)]) for letter in set(left) & set(right)
    }
    axis_a, axis_b = _axis(p, a, left), _axis(p, b, right)
    _prefer_heads(p, a, axis_a, b, axis_b, set(left) & set(right) & set(out))
    passed: dict[str, torch.Tensor] = {}
    dims = {letter: p.along(a, left.index(letter), "") for letter in axis_a}
    others = {letter: p.along(b, right.index(letter), "") for letter in axis_b}
    for letter in dims.keys() | others.keys():
        one, two = dims.get(letter), others.get(letter)
        if one is None or two is None:
            have = one if one is not None else two
            assert have is not None
            names, operand = (right, b) if one is not None else (left, a)
            if letter in names and operand.shape[names.index(letter)] > 1:
                p.labels.fix(have, f"{call.node.name}: the other operand keeps this axis")
                continue
        elif len(one) == len(two):
            p.labels.unify(one, two, f"{call.node.name} combines it with what is fixed")
        if letter in out:
            passed[letter] = one if one is not None else two  # type: ignore[assignment]
    scale, terms = 1, []
    for letter, size in sizes.items():
        labels = dims.get(letter, others.get(letter))
        if labels is None:
            scale *= size
        else:
            terms.append(labels)
    call.term(scale, *terms)
    result = torch.tensor(FIXED).reshape([1] * len(out))
    for number, (letter, labels) in enumerate(passed.items()):
        if number:
            p.labels.fix(labels, f"{call.node.name} gives channels along two axes")
            continue
        shape = [1] * len(out)
        shape[out.index(letter)] = -1
        result = labels.reshape(shape)
    return result.expand([sizes[letter] if result.shape[i] > 1 else 1 for i, letter in enumerate(out)])


def _axis(p: Propagation, labels: torch.Tensor, letters: str) -> str:
    return "".join(letters[axis] for axis in p.labels.varying(labels))


def _prefer_heads(p: Propagation, a: torch.Tensor, axis_a: str, b: torch.Tensor, axis_b: str, batch: set[str]) -> None:
    """Have splits that made head dimensions shrink shrink along their heads in the next round."""
    if p.attention != "heads" or not batch:
        return
    for labels, axis in ((a, axis_a), (b, axis_b)):
        if axis and set(axis) & batch:
            continue
        mine = set(torch.unique(labels).tolist()) - {FIXED}
        for name, before in p.splits:
            roots = p.labels.canonical(before)
            if not mine or not mine & set(torch.unique(roots).tolist()):
                continue
            varying = p.labels.varying(before)
            tried = p.heads.get(name, [])
            left = sorted((x for x in varying[:-1] if x not in tried), key=lambda x: (before.shape[x] != 3, x))
            if left and (axis or tried) and name not in p.marked:
                p.marked.add(name)
                p.heads[name] = [*tried, left[-1]]


def _flat(values: tuple[Any, ...]) -> list[Any]:
    return list(values[0]) if len(values) == 1 and isinstance(values[0], (tuple, list)) else list(values)
