"""Labels sent through a traced network: which positions of which parameters stand for the same channel.

Producers (output channels of convolutions, of linear layers, ...) mint labels; operations that move data are run on the
labels themselves; operations that combine values unify labels; consumers bind the labels that arrive to an axis of
their parameters. What each operation does is a rule (``rules/``, one file a family).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import fx, nn

from edgesmith.compress.prune.balance import Equal
from edgesmith.compress.prune.labels import FIXED, Labels, compress
from edgesmith.compress.tracing import CONSTANT, Shape, Traced
from edgesmith.registry import Registry

__all__ = ["RULES", "Call", "MacTerm", "Param", "Propagation", "Role", "Slot", "leaves", "propagate"]

Role = Literal["out", "in", "scale"]
"""Whether an axis of a parameter makes channels, reads them, or stands beside each (normalisation, bias, depthwise)."""

Rule = Callable[["Call"], Any]
RULES: Registry[Rule] = Registry("pruning rule", "edgesmith.compress.prune.rules")
"""By the name of a function, a method (without a trailing underscore) or a class of modules."""

_MOST_ELEMENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter or buffer, as a value."""

    name: str
    tensor: torch.Tensor


@dataclass(slots=True)
class Slot:
    """Labels of one axis of a parameter.

    Attributes:
        tensor: name of the parameter or buffer.
        labels: one a position, shape (size of the axis,).
        layer: the module it belongs to.
        blocks: of a grouped convolution's weight, where every group reads channels of its own: labels are those of the
            first group's positions, then the second's, ...
    """

    tensor: str
    axis: int
    labels: torch.Tensor
    role: Role
    layer: str
    blocks: int = 1


@dataclass(frozen=True, slots=True)
class MacTerm:
    """Multiply-adds of one node: ``scale`` times the number of positions left along every axis of ``axes``."""

    node: str
    scale: int
    axes: tuple[torch.Tensor, ...]


@dataclass
class Propagation:
    """What travelled where.

    Attributes:
        values: canonical labels of every node's value, in its structure.
        slots: by (parameter, axis).
        sizes: attributes of modules that count channels, as (module, attribute, place in a tuple or None), with the
            labels that they count.
        heads: nodes that split an axis into heads: node name to the axes tried; ``marked`` in this round.
        shrinks: by node, the axis that shrinks of values that came to vary along several, and the scheme of grouped
            layers; what is there before is obeyed.
        groupings: one label for each group of layers of which whole groups go, by node.
        splits: such values, with their labels before.
        equal: with ``balance``, parts of values that must lose equally many channels, whichever these are; without,
            such channels are coupled one by one.
        arranged: nodes between arranging channels in rows and flattening them again.
        opaque_params: parameters that something not understood reads, and why.
        elements: labels of parameters that are used as values.
        names: names of parameters and buffers by ``id``, the first one of shared ones.
    """

    traced: Traced
    attention: Literal["heads", "head_dim"]
    balance: bool = True
    labels: Labels = field(default_factory=Labels)
    slots: dict[tuple[str, int], Slot] = field(default_factory=dict)
    terms: list[MacTerm] = field(default_factory=list)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    sizes: dict[tuple[str, str, int | None], torch.Tensor] = field(default_factory=dict)
    heads: dict[str, list[int]] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)
    shrinks: dict[str, int] = field(default_factory=dict)
    groupings: dict[str, torch.Tensor] = field(default_factory=dict)
    splits: list[tuple[str, torch.Tensor]] = field(default_factory=list)
    elements: dict[str, torch.Tensor] = field(default_factory=dict)
    equal: list[Equal[torch.Tensor]] = field(default_factory=list)
    arranged: set[str] = field(default_factory=set)
    opaque_params: dict[str, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    _element_labels: list[tuple[int, int]] = field(default_factory=list)

    def labels_of(self, value: Any) -> torch.Tensor:
        """Labels of a value; a parameter used as a value gets one label an element."""
        if not isinstance(value, Param):
            return self.labels.canonical(value)
        tensor, name = value.tensor, value.name
        if not tensor.is_floating_point() or tensor.numel() > _MOST_ELEMENTS or id(tensor) not in self.names:
            return torch.tensor(FIXED).expand(tensor.shape)
        if name not in self.elements:
            self.elements[name] = self.labels.mint(tensor.numel()).reshape(tensor.shape)
            self._element_labels.append((int(self.elements[name].min()), tensor.numel()))
        return self.labels.canonical(self.elements[name])

    def bind(
        self, param: Param | None, axis: int, labels: torch.Tensor, role: Role, layer: str, blocks: int = 1
    ) -> None:
        """Give an axis of a parameter the labels of shape (blocks * size of the axis,)."""
        if param is None:
            return
        key = (param.name, axis)
        if key in self.slots:
            self.labels.unify(self.slots[key].labels, labels, f"{param.name} is used in several places")
        else:
            self.slots[key] = Slot(param.name, axis, labels, role, layer, blocks)

    def produce(self, param: Param, axis: int, layer: str, role: Role = "out") -> torch.Tensor:
        """New labels of an axis that makes channels; the same ones where the parameter is used again."""
        key = (param.name, axis)
        if key not in self.slots:
            self.slots[key] = Slot(param.name, axis, self.labels.mint(param.tensor.shape[axis]), role, layer)
        return self.slots[key].labels

    def decide(self, node: fx.Node, choice: int) -> int:
        """A choice that must be the same when labels go through the pruned network."""
        return self.shrinks.setdefault(node.name, choice)

    def rectify(self, labels: torch.Tensor, axis: int, why: str) -> torch.Tensor:
        """Couple labels until they vary along ``axis`` alone."""
        small = compress(self.labels.canonical(labels)).movedim(axis, 0)
        flat = small.reshape(small.shape[0], -1)
        self.labels.unify(flat[:, :1].expand(flat.shape), flat, why)
        return self.labels.canonical(labels)

    def along(self, labels: torch.Tensor, axis: int, why: str) -> torch.Tensor:
        """The labels of one axis, shape (size,); whatever varies along other axes is fixed with the reason ``why``."""
        labels = self.labels.canonical(labels)
        axis %= labels.ndim
        if any(other != axis for other in self.labels.varying(labels)):
            self.labels.fix(labels, why)
            return torch.tensor(FIXED).expand(labels.shape[axis])
        index = [0] * labels.ndim
        index[axis] = slice(None)  # type: ignore[call-overload]
        return labels[tuple(index)]

    def _waits(self, labels: torch.Tensor) -> bool:
        """Whether elements of a parameter have not met channels yet, which will tell along which axis they lie."""
        values = compress(labels)
        mine = [(values >= start) & (values < start + count) for start, count in self._element_labels]
        return bool(mine) and bool(torch.stack(mine).any(0).all())

    def settle(self, labels: torch.Tensor, node: fx.Node, axis: int | None = None) -> torch.Tensor:
        """Make a moved value prunable as a box: labels vary along one axis at most, ``axis`` or the best candidate."""
        labels = self.labels.canonical(labels)
        varying = self.labels.varying(labels)
        if len(varying) > 1 and self._waits(labels):
            return labels
        if len(varying) > 1 or node.name in self.shrinks:
            before = labels
            tried = self.heads.get(node.name)
            if node.name in self.shrinks:
                axis = self.shrinks[node.name]
            else:
                axis = tried[-1] if tried else axis
                if axis is None or axis not in varying:
                    axis = max(varying, key=lambda a: (labels.shape[a], a))
            self.shrinks[node.name] = axis
            labels = self.rectify(labels, axis, f"{node.name} couples it to what is fixed")
            self.splits.append((node.name, before))
            varying = self.labels.varying(labels)
        if not varying:
            self.labels.fix(labels, f"{node.name}: all channels would have to go together")
        return labels


@dataclass(slots=True)
class Call:
    """One node while it is propagated.

    Attributes:
        module: the leaf module, None for functions and methods.
        layer: name of the module, or of the module whose code calls the function.
        args: labels in the place of tensors, ``Param`` in the place of parameters.
        out: the value that the node gave for the example, with ``Shape`` in the place of tensors.
    """

    p: Propagation
    node: fx.Node
    module: Any
    layer: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any

    @property
    def place(self) -> str:
        """For messages: the layer, or the node where the network's own code calls the function."""
        return self.layer or self.node.name

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    def param(self, name: str) -> Param | torch.Tensor | None:
        """A parameter or buffer of the leaf module; None where it has none of this name, fixed labels where a hook
        computes it."""
        tensor = getattr(self.module, name, None)
        if tensor is None or id(tensor) in self.p.names:
            return None if tensor is None else Param(self.p.names[id(tensor)], tensor)
        return torch.tensor(FIXED).expand(tensor.shape)

    def input(self, position: int = 0, name: str = "input") -> torch.Tensor:
        """Labels of a tensor argument."""
        return self.p.labels_of(self.get(position, name))

    def operands(self) -> list[torch.Tensor]:
        """Labels of all tensors among the arguments."""
        return [self.p.labels_of(value) for value in leaves((self.args, self.kwargs))]

    def opaque(self, why: str) -> Any:
        """What goes in and comes out is never pruned."""
        for value in leaves((self.args, self.kwargs)):
            if isinstance(value, Param):
                self.p.opaque_params[value.name] = why
            else:
                self.p.labels.fix(value, why)
        return _like(self.out)

    def follows(self, attribute: str, labels: torch.Tensor, place: int | None = None) -> None:
        """An attribute of the module (one of its places, if a tuple) is the number of these labels that are left."""
        module = self.p.traced.module.get_submodule(self.layer) if self.module is None else self.module
        value = getattr(module, attribute, None)
        if (value[place] if place is not None and isinstance(value, (tuple, list)) else value) == len(labels):
            self.p.sizes[self.layer, attribute, place] = labels

    def term(self, scale: int, *axes: torch.Tensor) -> None:
        """Note multiply-adds."""
        self.p.terms.append(MacTerm(self.node.name, scale, axes))


def propagate(
    traced: Traced,
    attention: Literal["heads", "head_dim"] = "heads",
    shrinks: Mapping[str, int] | None = None,
    balance: bool = True,
    stay: Mapping[str, str] | None = None,
) -> Propagation:
    """Send labels through a network.

    Args:
        attention: what is removed from attention: whole heads, or the same number of dimensions of every head.
        shrinks: which axis shrinks where a node splits channels over several, as found before.
        balance: whether groups of channels that must shrink alike may lose different ones.
        stay: layers and parameters whose channels stay, and why.
    """
    stay = stay or {}
    with torch.device("cpu"):  # where labels are, whatever the default
        if shrinks is not None:
            p = Propagation(traced, attention, balance, shrinks=dict(shrinks))
            _run(p, stay)
            return p
        heads: dict[str, list[int]] = {}
        while True:
            p = Propagation(traced, attention, balance)
            p.heads = {name: list(axes) for name, axes in heads.items()}
            _run(p, stay)
            if p.heads == heads:
                return p
            heads = p.heads


def _run(p: Propagation, stay: Mapping[str, str]) -> None:
    graph = p.traced.graph
    owned = [*graph.named_parameters(remove_duplicate=False), *graph.named_buffers(remove_duplicate=False)]
    for name, tensor in owned:
        p.names.setdefault(id(tensor), name)
    module = p.traced.module
    parts = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    names = {name for name, _ in parts if not name.startswith(CONSTANT)}
    for node in graph.graph.nodes:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), p.values.__getitem__)
        if node.op == "output":
            for labels in (p.labels_of(v) for v in leaves(args)):
                p.labels.fix(labels, "it is an output of the network")
            continue
        out = node.meta["value"]
        if node.op == "get_attr":
            tensor = _attribute(graph, str(node.target))
            # Tensors that the code makes are no part of the module: they stay as they are.
            known = isinstance(tensor, torch.Tensor) and node.target in names
            p.values[node] = Param(p.names[id(tensor)], tensor) if known else _like(out)
        elif node.target is not operator.setitem and not any(True for _ in leaves(out, Shape)):
            p.values[node] = out
        elif node.op == "placeholder":
            p.values[node] = _like(out)
        else:
            p.values[node] = _apply(p, node, args, kwargs)
    _bind_elements(p)
    for name, why in stay.items():
        for slot in p.slots.values():
            makes = slot.role == "out" and (slot.layer == name or slot.layer.startswith(f"{name}."))
            if makes or slot.tensor == name:
                p.labels.fix(slot.labels, why)


def _apply(p: Propagation, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    module: nn.Module | None = None
    layer = node.meta["owner"]
    if node.op == "call_module":
        layer = str(node.target)
        module = p.traced.graph.get_submodule(layer)
        names: Iterable[str] = [] if layer in p.traced.opaque else [kind.__name__ for kind in type(module).__mro__]
    else:
        called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        names = [str(called).rstrip("_")]
    first = next((name for name in ("input", "tensors", "tensor", "self") if name in kwargs), "")
    if first and not args:
        args, kwargs = (kwargs[first],), {name: value for name, value in kwargs.items() if name != first}
    call = Call(p, node, module, layer, args, kwargs, node.meta["value"])
    if layer in p.traced.opaque and module is not None:
        return call.opaque(f"{layer} cannot be traced: {p.traced.opaque[layer]}")
    for name in names:
        if name in RULES:
            return RULES[name](call)
    return call.opaque(f"{layer or node.name}: no rule for {type(module).__name__ if module else next(iter(names))}")


def _bind_elements(p: Propagation) -> None:
    """Parameters that were used as values: their labels must vary along one axis."""
    for name, labels in p.elements.items():
        labels = p.labels.canonical(labels)
        varying = p.labels.varying(labels)
        if len(varying) == 1 and not any(tensor == name for tensor, _ in p.slots):
            layer = name.rpartition(".")[0]
            p.slots[name, varying[0]] = Slot(name, varying[0], p.along(labels, varying[0], ""), "scale", layer)
        else:
            p.labels.fix(labels, f"{name} has no single axis of channels")
    for (name, _), slot in p.slots.items():
        if name in p.opaque_params:
            p.labels.fix(slot.labels, p.opaque_params[name])


def _attribute(root: nn.Module, name: str) -> Any:
    value: Any = root
    for part in name.split("."):
        value = getattr(value, part)
    return value


def leaves(value: Any, kind: Any = (torch.Tensor, Param)) -> Iterable[Any]:
    """The values of a kind in nested tuples, lists, dicts and slices."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item, kind)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from leaves(item, kind)
    elif isinstance(value, slice):
        yield from leaves((value.start, value.stop, value.step), kind)


def _like(out: Any) -> Any:
    """Fixed labels in the structure of a value."""
    if isinstance(out, Shape):
        return torch.tensor(FIXED).expand(out.sizes)
    if isinstance(out, (tuple, list)):
        return tuple(_like(item) for item in out)
    if isinstance(out, dict):
        return {key: _like(item) for key, item in out.items()}
    return out
