"""Operations that write over their operands, as ones that give new values."""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, fx

from edgesmith.compress.memory import Memory
from edgesmith.compress.nested import map_tensors, tensors
from edgesmith.compress.tracing import Traced, as_inputs, evaluating, operands, version
from edgesmith.errors import BadInput

__all__ = ["without_effects"]

_OPERATORS = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.iand: operator.and_,
    operator.ior: operator.or_,
    operator.ixor: operator.xor,
}


def without_effects(traced: Traced, example: Any) -> None:
    """Change a graph, and its modules, so that no operation writes over an operand: what reads the operand, or another
    value in the same memory, afterwards reads the operation's result.

    Raises:
        BadInput: an operation writes over a part of a value that is read afterwards, or is not known to have a form
            that leaves its operand alone.
    """
    graph = traced.graph.graph
    for node in [n for n in graph.nodes if n.op != "output"]:
        shape_alone = _changes_its_shape(node)
        if node.meta["writes"] is None and not shape_alone:
            continue
        operand = operands(node)[node.meta["writes"] or 0]
        _renew(node)
        node.meta.update({key: operand.meta[key] for key in ("value", "memory") if node.target is written})
        _read_later(graph, operand, node, alone=shape_alone)
    for part in traced.graph.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]
    traced.graph.recompile()
    with evaluating(traced.graph):
        _Watched(traced.graph).run(*(map_tensors(i, torch.clone) for i in as_inputs(example)))


def written(x: Tensor, key: Any, value: Any) -> Tensor:
    """``x`` as it is after ``x[key] = value``."""
    if not isinstance(value, Tensor):  # a constant mask, which more runtimes know than writing at indices
        mask = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
        mask[key] = True
        return x.masked_fill(mask, value)
    result = x.clone()
    result[key] = value
    return result


def _copied(x: Tensor, value: Tensor, non_blocking: bool = False) -> Tensor:
    """``x`` as it is after ``x.copy_(value)``."""
    return value.to(x).expand_as(x)


_METHODS: dict[str, Callable[..., Tensor]] = {"copy_": _copied, "fill_": torch.full_like, "zero_": torch.zeros_like}
"""Those without a method of the same name that gives a new value."""


def _changes_its_shape(node: fx.Node) -> bool:
    """Whether a method such as ``unsqueeze_`` changes its operand without writing over elements."""
    return node.op == "call_method" and node.meta["writes"] is None and _method(str(node.target)) is not None


def _method(name: str) -> str | Callable[..., Tensor] | None:
    """What gives a new value instead of the method ``name_``."""
    if not name.endswith("_") or name.endswith("__"):
        return None
    plain = name[:-1]
    return _METHODS.get(name) or (plain if callable(getattr(Tensor, plain, None)) else None)


def _renew(node: fx.Node) -> None:
    """Let a node give a new value; modules are changed elsewhere."""
    if node.op == "call_method" and (method := _method(str(node.target))):
        node.op, node.target = ("call_method" if isinstance(method, str) else "call_function"), method
    elif node.op == "call_function" and node.target in _OPERATORS:
        node.target = _OPERATORS[node.target]
    elif node.op == "call_function" and node.target is operator.setitem:
        node.target = written
    elif node.op == "call_function" and isinstance(node.kwargs.get("out"), fx.Node):
        node.kwargs = {key: value for key, value in node.kwargs.items() if key != "out"}
    elif node.op == "call_function" and (plain := _function(node.target)):
        node.target = plain
    elif node.op == "call_function":
        _switch_off(node)


def _function(function: Any) -> Any:
    """``relu`` for ``relu_``; None if there is none."""
    name = str(getattr(function, "__name__", ""))
    if not name.endswith("_") or name.endswith("__"):
        return None
    homes = (sys.modules.get(str(getattr(function, "__module__", ""))), torch, functional)
    return next((found for home in homes if callable(found := getattr(home, name[:-1], None))), None)


def _switch_off(node: fx.Node) -> None:
    """Give a function ``inplace=False`` where it was told otherwise."""
    try:
        bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return
    if bound.arguments.get("inplace"):
        bound.arguments["inplace"] = False
        node.args, node.kwargs = bound.args, bound.kwargs


def _read_later(graph: fx.Graph, operand: fx.Node, new: fx.Node, alone: bool) -> None:
    """What reads an operand after it was written over reads the new value.

    Args:
        alone: no other value in its memory is concerned.

    Raises:
        BadInput: what is written over is a part of a value that is read afterwards, or has such parts.
    """
    order = {n: i for i, n in enumerate(graph.nodes)}
    for value in list(graph.nodes)[: order[new]]:
        later = [user for user in value.users if order[user] > order[new]]
        if value is operand or (not alone and value.meta["memory"] == operand.meta["memory"] != ()):
            for user in later:
                user.replace_input_with(value, new)
        elif later and not alone and _overlap(value.meta["memory"], operand.meta["memory"]):
            raise BadInput(
                "writes over a part of a value that is read afterwards",
                where=new.name,
                hint=f"give {value.name!r} a new value, such as by torch.cat or torch.where",
            )


def _overlap(some: tuple[Memory, ...], others: tuple[Memory, ...]) -> bool:
    return any(one.overlaps(other) for one in some for other in others)


class _Watched(fx.Interpreter):
    """Runs a graph in which nothing may write over anything."""

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        given = tensors((args, kwargs))
        before = list(map(version, given))
        result = super().run_node(n)
        if before != list(map(version, given)):
            raise BadInput(
                f"{n.target} writes over its input, and is not known to have a form that does not",
                where=n.name,
                hint="let it work on a copy, such as by clone()",
            )
        return result
