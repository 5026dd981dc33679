"""Reductions, softmax and other operations over axes."""

from __future__ import annotations

from typing import Any

from edgesmith.compress.prune.labels import compress
from edgesmith.compress.prune.propagation import Call
from edgesmith.compress.prune.rules.elementwise import combine
from edgesmith.compress.prune.rules.registration import rule

__all__: list[str] = []


@rule("mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "prod", "logsumexp", "any", "all", "argmax")
def _reduction(call: Call) -> Any:
    if len(call.operands()) > 1:
        return combine(call.p, call.operands(), call.node.name)
    x = call.input()
    name = str(getattr(call.node.target, "__name__", call.node.target))
    dim = call.get(2 if name == "norm" else 1, "dim")
    dims = (
        range(x.ndim)
        if dim is None or isinstance(dim, bool)
        else [d % x.ndim for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    )
    if any(axis in dims for axis in call.p.labels.varying(x)) and name != "sum":
        # A sum of fewer channels is exact; a mean or a maximum of fewer is another function.
        return call.opaque(f"{call.node.name} ({name}) reduces over channels")
    kept = call.out[0].sizes if isinstance(call.out, tuple) else call.out.sizes
    result = x
    for axis in sorted(dims, reverse=True):
        first = result.narrow(axis, 0, 1)
        result = first * int(axis not in call.p.labels.varying(x))
        result = result if len(kept) == x.ndim else result.squeeze(axis)
    return tuple(result for _ in call.out) if isinstance(call.out, tuple) else result


@rule("softmax", "log_softmax", "softmin", "cumsum", "sort", "argsort", "topk", "gumbel_softmax")
def _over_an_axis(call: Call) -> Any:
    """The axis keeps its size or gets another one (top k)."""
    x = call.input()
    name = str(getattr(call.node.target, "__name__", call.node.target))
    # PyTorch chooses the axis of a softmax that names none by the number of axes.
    dim = call.get({"topk": 2, "gumbel_softmax": 4}.get(name, 1), "dim", None if name.endswith(("max", "min")) else -1)
    if not isinstance(dim, int) or dim % x.ndim in call.p.labels.varying(x):
        return call.opaque(f"{call.node.name} works over channels")
    small = compress(x)
    if isinstance(call.out, tuple):
        return tuple(small.expand(out.sizes) for out in call.out)
    return small.expand(call.out.sizes)


@rule("Softmax", "LogSoftmax", "Softmax2d")
def _softmax_module(call: Call) -> Any:
    x = call.input()
    dim = 1 if type(call.module).__name__ == "Softmax2d" else call.module.dim
    if dim is None or dim % x.ndim in call.p.labels.varying(x):
        return call.opaque(f"{call.place} works over channels")
    return x


@rule("normalize")
def _normalize(call: Call) -> Any:
    """Division by a norm: over channels it changes as with LayerNorm; removing zeros leaves it as it is."""
    return call.input()
