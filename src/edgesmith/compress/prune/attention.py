"""``nn.MultiheadAttention`` whose heads need not fill the embedding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["PrunedMultiheadAttention"]


class PrunedMultiheadAttention(nn.MultiheadAttention):
    """What pruning makes of ``nn.MultiheadAttention``: the same parameters, with fewer heads or a smaller embedding.

    ``in_proj_weight`` has shape (3 * heads * head dimension, embedding), ``out_proj.weight`` (embedding, heads * head
    dimension).
    """

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As ``nn.MultiheadAttention``."""
        batched = query.ndim == 3
        q, k, v = (self._in(x, i, batched) for i, x in enumerate((query, key, value)))
        mask = _mask(attn_mask, key_padding_mask, self.num_heads, q)
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            result = F.dropout(weights, self.dropout, self.training) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            result = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        output = self.out_proj(result.transpose(1, 2).flatten(2))
        if not batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def _in(self, x: torch.Tensor, part: int, batched: bool) -> torch.Tensor:
        """Queries, keys or values, shape (batch, heads, length, head dimension)."""
        if not batched:
            x = x.unsqueeze(0)
        elif not self.batch_first:
            x = x.transpose(0, 1)
        weight: Any = self.in_proj_weight
        bias: Any = self.in_proj_bias
        rows = weight.shape[0] // 3
        own = slice(part * rows, (part + 1) * rows)
        y = F.linear(x, weight[own], None if bias is None else bias[own])
        return y.reshape(*y.shape[:2], self.num_heads, rows // self.num_heads).transpose(1, 2)


def _mask(
    attention: torch.Tensor | None, padding: torch.Tensor | None, heads: int, like: torch.Tensor
) -> torch.Tensor | None:
    """Both masks as one to be added, broadcastable to (batch, heads, queries, keys)."""
    masks = []
    if attention is not None:
        masks.append(attention.reshape(-1, heads, *attention.shape[1:]) if attention.ndim == 3 else attention)
    if padding is not None:
        masks.append(padding.reshape(-1, 1, 1, padding.shape[-1]))
    total: torch.Tensor | None = None
    for mask in masks:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
        total = mask if total is None else total + mask
    return total
