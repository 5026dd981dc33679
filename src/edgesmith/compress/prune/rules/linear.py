"""Linear layers and embeddings."""

from __future__ import annotations

from typing import Any

from edgesmith.compress.prune.labels import FIXED
from edgesmith.compress.prune.propagation import Call, Param
from edgesmith.compress.prune.rules.own_code import beside_outputs, has_own_code, is_equivariant, unlike
from edgesmith.compress.prune.rules.registration import rule

__all__ = ["linear"]


@rule("Linear")
def _module(call: Call) -> Any:
    weight = call.param("weight")
    if has_own_code(call.module) and isinstance(weight, Param):
        x = call.input()
        extra = beside_outputs(call, call.out.sizes[-1])
        if extra or extra is None or not is_equivariant(call.module, x.shape, x.ndim - 1, reads=1):
            return unlike(call, weight, 0, "a linear layer")
    return linear(call, weight, call.param("bias"))


@rule("linear")
def _function(call: Call) -> Any:
    return linear(call, call.get(1, "weight"), call.get(2, "bias"))


@rule("Embedding")
def _embedding(call: Call) -> Any:
    weight = call.param("weight")
    if not isinstance(weight, Param):
        return call.opaque(f"{call.place}: the table of the embedding is computed")
    made = call.p.produce(weight, 1, call.layer)
    call.follows("embedding_dim", made)
    return made.expand(call.out.sizes)


@rule("embedding")
def _embedding_function(call: Call) -> Any:
    weight = call.get(1, "weight")
    if not isinstance(weight, Param):
        return call.opaque(f"{call.place}: the table of the embedding is computed")
    return call.p.produce(weight, 1, call.layer).expand(call.out.sizes)


def linear(call: Call, weight: Any, bias: Any, reads: int = 1) -> Any:
    """``x @ weight.T + bias``, or ``x @ weight`` with ``reads=0``."""
    if not isinstance(weight, Param) or weight.tensor.ndim != 2 or not (bias is None or isinstance(bias, Param)):
        return call.opaque(f"{call.place}: the weight of the linear layer is computed")
    p, layer, x = call.p, call.layer, call.input()
    rows = 1
    for size in x.shape[:-1]:
        rows *= size
    varying = p.labels.varying(x)
    made = p.produce(weight, 1 - reads, layer)
    p.bind(bias, 0, made, "scale", layer)
    call.follows("out_features", made)
    if varying and varying != [x.ndim - 1]:
        # Along another axis, such as tokens of a mixer: that one may shrink, this layer's features stay.
        p.labels.fix(made, f"{layer}: its inputs shrink along another axis")
        p.bind(weight, reads, p.labels.mint(0).new_full((x.shape[-1],), FIXED), "in", layer)
        other = p.along(x, varying[0], f"{layer}: channels along several axes")
        call.term(rows // x.shape[varying[0]] * weight.tensor.numel(), other)
        return x[..., :1].expand(call.out.sizes)
    features = p.along(x, -1, "")
    p.bind(weight, reads, features, "in", layer)
    call.follows("in_features", features)
    call.term(rows, features, made)
    return made.expand(call.out.sizes)
