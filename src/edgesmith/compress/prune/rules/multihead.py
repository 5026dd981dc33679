"""``nn.MultiheadAttention``: the embedding shrinks like any channels, inside it loses heads or head dimensions."""

from __future__ import annotations

from typing import Any

import torch

from edgesmith.compress.prune.labels import FIXED
from edgesmith.compress.prune.propagation import Call, Param
from edgesmith.compress.prune.rules.registration import rule

__all__: list[str] = []


@rule("MultiheadAttention")
def _multihead(call: Call) -> Any:
    module, p, layer = call.module, call.p, call.layer
    weight = call.param("in_proj_weight")
    if not isinstance(weight, Param) or module.bias_k is not None or module.add_zero_attn:
        return call.opaque(f"{layer}: attention with separate or additional keys")
    inputs = [call.input(i, name) for i, name in enumerate(("query", "key", "value"))]
    embedding = p.along(inputs[0], -1, f"{layer} reads channels along its last axis")
    for other in inputs[1:]:
        p.labels.unify(embedding, p.along(other, -1, layer), f"{layer} reads it with what is fixed")
    p.bind(weight, 1, embedding, "in", layer)

    heads, rows = module.num_heads, weight.tensor.shape[0]
    inside = p.produce(weight, 0, layer).reshape(3, heads, -1)
    # With head dimensions removed, attention would scale by another root: only heads go, unless that is asked for.
    if p.attention == "heads":
        p.rectify(inside, 1, layer)
    else:
        p.labels.fix(inside, f"{layer} scales by the head dimension")
    by_head = p.labels.canonical(inside)[0, :, 0]
    if heads == 1:
        p.labels.fix(inside, f"{layer} has a single head")
    mask = call.get(5, "attn_mask")
    if mask is not None and p.labels_of(mask).ndim == 3:
        p.labels.fix(inside, f"{layer} gets a mask for each head")
    bias = call.param("in_proj_bias")
    assert not isinstance(bias, torch.Tensor)
    p.bind(bias, 0, inside.reshape(-1), "scale", layer)
    out = f"{layer}.out_proj"
    out_weight, out_bias = (
        None if tensor is None else Param(p.names[id(tensor)], tensor)
        for tensor in (module.out_proj.weight, module.out_proj.bias)
    )
    assert out_weight is not None
    p.bind(out_weight, 1, inside[0].reshape(-1), "in", out)
    made = p.produce(out_weight, 0, out)
    p.bind(out_bias, 0, made, "scale", out)
    # The class has one size for both.
    p.labels.unify(embedding, made, f"{layer} gives as many features as it reads")
    call.follows("embed_dim", embedding)
    call.follows("num_heads", by_head)

    batch_first = bool(module.batch_first)
    query, key = (inputs[i].shape for i in (0, 1))
    batch = query[0 if batch_first else 1] if len(query) == 3 else 1
    length = [shape[1 if batch_first else 0] if len(shape) == 3 else shape[0] for shape in (query, key)]
    parts = inside.reshape(3, -1)
    for part, rows_of in zip(parts, (length[0], length[1], length[1]), strict=True):
        call.term(batch * rows_of, embedding, part)
    call.term(2 * batch * length[0] * length[1], parts[0])
    call.term(batch * length[0], parts[0], made)
    assert rows == parts.numel()

    result = made.expand(call.out[0].sizes)
    weights = None if call.out[1] is None else torch.tensor(FIXED).expand(call.out[1].sizes)
    return p.labels.canonical(result), weights
