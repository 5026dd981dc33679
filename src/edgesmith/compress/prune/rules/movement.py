"""Operations that only move elements: they are run on the labels."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn

from edgesmith.compress.prune.balance import Equal
from edgesmith.compress.prune.labels import compress
from edgesmith.compress.prune.propagation import Call, Param
from edgesmith.compress.prune.rules.elementwise import combine
from edgesmith.compress.prune.rules.registration import rule

__all__: list[str] = []

_MOVES = (
    "reshape view flatten unflatten permute transpose swapaxes swapdims movedim moveaxis t squeeze unsqueeze expand "
    "expand_as view_as reshape_as repeat repeat_interleave tile roll flip narrow select index_select getitem getattr "
    "split unbind tensor_split hsplit vsplit chunk pixel_shuffle pixel_unshuffle channel_shuffle ravel broadcast_to "
    "unfold_copy adjoint"
)
_MODULES = "Flatten Unflatten PixelShuffle PixelUnshuffle ChannelShuffle"


@rule(*_MOVES.split(), *_MODULES.split())
def _moved(call: Call) -> Any:
    source = call.args[0]
    if isinstance(source, (tuple, list, dict)):
        return _element(call, source)
    x = call.p.labels_of(source)
    as_other = str(getattr(call.node.target, "__name__", call.node.target)).endswith("_as")
    rest = [call.p.labels_of(value) if as_other else _index(value) for value in call.args[1:]]
    if any(value is NotImplemented for value in rest):
        return call.opaque(f"{call.node.name}: indices are computed")
    if call.node.target is operator.getitem and _leaves_gaps(x, rest[0]):
        return call.opaque(f"{call.node.name} takes every nth channel")
    if _picks(call, x, rest):
        return call.opaque(f"{call.node.name} picks channels by their numbers")
    if call.module is not None:
        result = type(call.module).forward(call.module, x)
    elif call.node.op == "call_method":
        method = str(call.node.target).rstrip("_")
        result = getattr(x, "reshape" if method == "view" else method)(*rest, **call.kwargs)
    else:
        result = call.node.target(x, *rest, **call.kwargs)  # type: ignore[operator]
    if isinstance(result, torch.Tensor) and type(call.module) is nn.Unflatten:
        return _unflattened(call, call.p.settle(result, call.node))
    if isinstance(result, torch.Tensor):
        if call.node.name in call.p.arranged or (call.p.balance and _is_shuffled(call, result)):
            return call.p.labels.canonical(result)
        return call.p.settle(result, call.node, 1 if _is_shuffle(call) else None)
    return _parts(call, tuple(result))


def _element(call: Call, source: Any) -> Any:
    """An element of a tuple or dict, by its place, key or name, as in ``y.max(1).values``."""
    key = call.args[1]
    if not isinstance(key, str) or isinstance(source, dict):
        return source[key]
    named = call.node.all_input_nodes[0].meta["value"]
    wanted = getattr(named, key)
    place = next((place for place, item in enumerate(named) if item is wanted), None)
    return call.opaque(f"{call.node.name} is no element") if place is None else source[place]


def _unflattened(call: Call, labels: torch.Tensor) -> torch.Tensor:
    first = call.module.dim % (labels.ndim - len(call.module.unflattened_size) + 1)
    for axis in call.p.labels.varying(labels):
        if 0 <= axis - first < len(call.module.unflattened_size):
            call.follows("unflattened_size", call.p.along(labels, axis, ""), axis - first)
    return labels


@rule("setitem")
def _written(call: Call) -> Any:
    """Writing over places of every channel; what is written, if it is channels, is those."""
    key, x = _index(call.args[1]), call.p.labels_of(call.args[0])
    if key is NotImplemented or _leaves_gaps(x, key) or _picks(call, x, [key]):
        return call.opaque(f"{call.node.name} writes where its indices say")
    part = x[key]
    if set(torch.unique(compress(x)).tolist()) != set(torch.unique(compress(part)).tolist()):
        return call.opaque(f"{call.node.name} writes over some of the channels")
    value = call.args[2]
    if isinstance(value, (torch.Tensor, Param)):
        combine(call.p, [part, call.p.labels_of(value)], call.node.name)
    return None


@rule("cat", "concat", "concatenate", "stack", "hstack", "vstack")
def _joined(call: Call) -> Any:
    parts = [call.p.labels_of(value) for value in call.args[0]]
    function = getattr(torch, str(getattr(call.node.target, "__name__", "cat")))
    axes = {axis for part in parts for axis in call.p.labels.varying(part)}
    result = function(parts, *call.args[1:], **call.kwargs)
    if function is torch.stack:
        dim = call.get(1, "dim", 0) % result.ndim
        axes = {axis + (axis >= dim) for axis in axes}
    return call.p.settle(result, call.node, axes.pop() if len(axes) == 1 else None)


def _parts(call: Call, parts: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Parts of one size stay of one size: code that halves a value goes on halving it."""
    x = call.p.labels_of(call.args[0])
    even = len({part.shape for part in parts}) == 1 and len(parts) > 1
    sizes = call.get(1, "split_size_or_sections")
    varying = call.p.labels.varying(x)
    divides = bool(varying) and parts[0].ndim == x.ndim and parts[0].shape[varying[0]] != x.shape[varying[0]]
    if even and divides and not isinstance(sizes, (tuple, list)):
        for part in parts[1:]:
            call.p.labels.unify(parts[0], part, f"{call.node.name} couples it to what is fixed")
    return tuple(call.p.settle(part, call.node) for part in parts)


def _is_shuffled(call: Call, labels: torch.Tensor) -> bool:
    """Whether channels are arranged in rows only to be transposed and flattened again; rows must then stay equal."""
    labels = call.p.labels.canonical(labels)
    varying = call.p.labels.varying(labels)
    if len(varying) != 2 or len(call.p.labels.varying(call.p.labels_of(call.args[0]))) != 1:
        return False
    node, transposed = call.node, False
    between: list[str] = []
    while len(node.users) == 1:
        node = next(iter(node.users))
        name = str(getattr(node.target, "__name__", node.target))
        if name in ("reshape", "view", "flatten") and transposed:
            row, column = sorted(varying, key=lambda axis: labels.shape[axis])
            flat = labels.movedim((row, column), (0, 1)).flatten(2)[..., 0]
            call.p.equal.append(Equal(tuple(flat), spread=True))
            call.p.arranged.update(between)
            return True
        transposed = transposed or name in ("transpose", "permute", "swapaxes")
        if name not in ("transpose", "permute", "swapaxes", "contiguous"):
            return False
        between.append(node.name)
    return False


def _is_shuffle(call: Call) -> bool:
    name = type(call.module).__name__ if call.module is not None else str(getattr(call.node.target, "__name__", ""))
    return name in ("PixelShuffle", "pixel_shuffle")


def _leaves_gaps(x: torch.Tensor, index: Any) -> bool:
    """Whether slices take every nth channel: a slice of the channels that are left could not."""
    items = index if isinstance(index, tuple) else (index,)
    dense = tuple(slice(item.start, item.stop) if isinstance(item, slice) else item for item in items)
    return dense != items and len(torch.unique(compress(x[dense]))) != len(torch.unique(compress(x[items])))


def _picks(call: Call, x: torch.Tensor, rest: list[Any]) -> bool:
    """Whether channels are told apart by numbers that pruning leaves as they are: indices in a tensor, or a shift."""
    varying = call.p.labels.varying(call.p.labels.canonical(x))
    name = str(getattr(call.node.target, "__name__", call.node.target))
    if name == "roll":
        dims = call.get(2, "dims", ())
        dims = dims if isinstance(dims, (tuple, list)) else (dims,)
        return bool(varying) and (not dims or any(d % x.ndim in varying for d in dims))
    if name == "index_select":
        return call.get(1, "dim") % x.ndim in varying
    if call.node.target not in (operator.getitem, operator.setitem):
        return False
    items = rest[0] if isinstance(rest[0], tuple) else (rest[0],)
    width = sum(0 if item is None or item is Ellipsis else _axes(item) for item in items)
    axis = 0
    for item in items:
        if isinstance(item, (torch.Tensor, list)) and any(a in varying for a in range(axis, axis + _axes(item))):
            return True
        axis += x.ndim - width if item is Ellipsis else 0 if item is None else _axes(item)
    return False


def _axes(item: Any) -> int:
    """How many axes an index takes."""
    return item.ndim if isinstance(item, torch.Tensor) and item.dtype == torch.bool else 1


def _index(value: Any) -> Any:
    """An argument for moving labels: tensors of integers by their values, which only buffers have here."""
    if isinstance(value, Param):
        return value.tensor.cpu()
    if isinstance(value, torch.Tensor):
        return NotImplemented
    if isinstance(value, (tuple, list)):
        items = [_index(item) for item in value]
        return NotImplemented if any(item is NotImplemented for item in items) else type(value)(items)
    return value
