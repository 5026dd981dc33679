"""A pruned architecture as data: which positions stay along every axis, without any weights."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from edgesmith.compress.prune.attention import PrunedMultiheadAttention
from edgesmith.compress.prune.code import Code, recoded
from edgesmith.compress.tracing import trace
from edgesmith.errors import BadInput

__all__ = ["Positions", "PrunedShape", "apply_shape"]

Positions = tuple[int, ...] | tuple[tuple[int, ...], ...]
"""Positions that stay along an axis; or, for a grouped convolution, those of each group."""


@dataclass(frozen=True)
class PrunedShape:
    """What was removed from a module.

    Attributes:
        kept: parameter or buffer to axis to the positions that stay, in order; axes that stay whole are left out.
        sizes: shapes of these tensors before.
        attributes: module to attribute to its new value, such as ``{"conv1": {"out_channels": 24}}``.
        code: arguments that change in the module's traced graph; empty unless its code states sizes as numbers.
    """

    kept: Mapping[str, Mapping[int, Positions]] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    code: Code = field(default_factory=dict)

    def then(self, later: PrunedShape) -> PrunedShape:
        """Both, one after the other, as one record of the original module."""
        kept = {tensor: dict(axes) for tensor, axes in self.kept.items()}
        for tensor, axes in later.kept.items():
            for axis, positions in axes.items():
                first = kept.setdefault(tensor, {}).get(axis)
                kept[tensor][axis] = positions if first is None else _after(first, positions)
        attributes = {layer: dict(values) for layer, values in self.attributes.items()}
        for layer, values in later.attributes.items():
            attributes.setdefault(layer, {}).update(values)
        return PrunedShape(kept, {**later.sizes, **self.sizes}, attributes, {**self.code, **later.code})

    def to_json(self) -> str:
        """Text that ``from_json`` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PrunedShape:
        """What ``to_json`` wrote.

        Raises:
            BadInput: it is something else.
        """
        try:
            data = json.loads(text)
            kept = {t: {int(a): _tuple(k) for a, k in axes.items()} for t, axes in data["kept"].items()}
            sizes = {t: tuple(map(int, size)) for t, size in data["sizes"].items()}
            code = dict(data["code"])
            attributes = {
                module: {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
                for module, values in data["attributes"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"no pruned shape: {error}", where="PrunedShape", hint="give what to_json wrote") from error
        return cls(kept, sizes, attributes, code)


def _tuple(positions: list[Any]) -> Positions:
    return tuple(tuple(map(int, p)) if isinstance(p, list) else int(p) for p in positions)  # type: ignore[return-value]


def _after(first: Any, then: Any) -> Positions:
    if first and isinstance(first[0], tuple):
        return tuple(tuple(one[i] for i in other) for one, other in zip(first, then, strict=True))
    return tuple(first[i] for i in then)


def _select(values: torch.Tensor, axis: int, positions: Positions) -> torch.Tensor:
    """The positions that stay; where there are several tuples of them, each for its block of axis 0."""
    parts = positions if positions and isinstance(positions[0], tuple) else (positions,)
    chunks = zip(values.chunk(len(parts)), parts, strict=True)
    return torch.cat([c.index_select(axis, torch.tensor(p, dtype=torch.int64, device=c.device)) for c, p in chunks])


def apply_shape(module: nn.Module, shape: PrunedShape | str, example: Any = None) -> nn.Module:
    """A copy of an unpruned module with the pruned architecture, ready for ``load_state_dict``.

    Weights that stay are copied; ``module`` itself stays as it is.

    Args:
        module: the architecture that was pruned, with any weights.
        shape: the record, or its JSON text.
        example: what was given when pruning; needed only for records that change code.

    Raises:
        BadInput: the record is not of this architecture, or the example is missing.
    """
    shape = PrunedShape.from_json(shape) if isinstance(shape, str) else shape
    if not shape.code:
        return cut_tensors(module, shape)
    if example is None:
        raise BadInput("the record changes code", where="apply_shape", hint="pass example=, as when pruning")
    return recoded(trace(module, example).graph, cut_tensors(module, shape), shape.code)


def cut_tensors(module: nn.Module, shape: PrunedShape) -> nn.Module:
    """A copy with smaller tensors and new attributes, and code as it was.

    Raises:
        BadInput: the record is not of this architecture.
    """
    pruned = copy.deepcopy(module)
    names: dict[int, list[str]] = defaultdict(list)
    tensors: dict[str, torch.Tensor] = {}
    owned = [*pruned.named_parameters(remove_duplicate=False), *pruned.named_buffers(remove_duplicate=False)]
    for name, tensor in owned:
        names[id(tensor)].append(name)
        tensors[name] = tensor
    for name, axes in shape.kept.items():
        found = tensors.get(name)
        if found is None or tuple(found.shape) != tuple(shape.sizes[name]):
            why = "there is none" if found is None else f"its shape is {tuple(found.shape)}"
            raise BadInput(f"expected shape {tuple(shape.sizes[name])}: {why}", where=name, hint="another module")
        values = found.detach()
        for axis, positions in sorted(
            axes.items(), reverse=True
        ):  # groups are told apart along axis 0, so that is last
            values = _select(values, axis, positions)
        values = values.contiguous()
        new = nn.Parameter(values, found.requires_grad) if isinstance(found, nn.Parameter) else values
        for alias in names[id(found)]:
            owner, _, attribute = alias.rpartition(".")
            setattr(pruned.get_submodule(owner), attribute, new)
    for name, part in pruned.named_modules():
        if type(part) is nn.MultiheadAttention and f"{name}.in_proj_weight".lstrip(".") in shape.kept:
            part.__class__ = PrunedMultiheadAttention
            # Or nn.TransformerEncoderLayer takes its fast path, which reads the weights and wants heads that fill it.
            part._qkv_same_embed_dim = False
    for owner, changes in shape.attributes.items():
        for attribute, value in changes.items():
            setattr(pruned.get_submodule(owner), attribute, value)
    return pruned
