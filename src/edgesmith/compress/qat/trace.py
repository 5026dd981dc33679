"""A traced copy of a module with nothing computed in place, so that roundings may be put between operations."""

from __future__ import annotations

import copy
import operator
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgesmith.compress.qat.folding import NORMS, BatchNorm
from edgesmith.compress.tracing import Traced, refuse_wrapped, trace
from edgesmith.errors import BadInput

__all__ = ["traced"]

_IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


_VIEWS = (
    "getitem narrow select view view_as reshape flatten unflatten permute transpose t movedim squeeze unsqueeze expand "
    "expand_as chunk split tensor_split unbind detach"
)
"""What gives the same memory; some of them only sometimes."""


def traced(module: nn.Module, example: Any) -> Traced:
    """A copy of the module whose forward pass is a graph of calls, without effects on their operands.

    Layers keep their paths; batch normalisation in a piece with its activation (timm's ``BatchNormAct2d``) becomes two
    layers. Control flow is that of evaluation mode.

    Raises:
        BadInput, ModelError: as of ``trace``.
    """
    refuse_wrapped(module)
    module = copy.deepcopy(module)
    for path, part in list(module.named_modules()):
        if path and isinstance(part, NORMS) and tuple(name for name, _ in part.named_children()) == ("drop", "act"):
            module.set_submodule(path, nn.Sequential(_plain(part), *part.children()))
    in_place = {path for path, part in module.named_modules() if getattr(part, "inplace", False) is True}
    for path in in_place:
        module.get_submodule(path).inplace = False  # type: ignore[assignment]
    found = trace(module, example)
    _without_effects(found.graph.graph, in_place)
    found.graph.recompile()
    return found


def _plain(norm: BatchNorm) -> BatchNorm:
    """The normalisation alone, with the same parameters and statistics."""
    kind = next(kind for kind in NORMS if isinstance(norm, kind))
    plain = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    plain._parameters.update(norm._parameters)
    plain._buffers.update(norm._buffers)
    return plain.train(norm.training)


def _without_effects(graph: fx.Graph, in_place: Collection[str]) -> None:
    """Operations that write over an operand give a new value, which is read from there on instead of the operand."""
    for node in list(graph.nodes):
        operand = node.args[0] if node.args else None
        if node.op == "call_function" and node.target in _IN_PLACE:
            node.target = _IN_PLACE[node.target]
        elif node.op == "call_function" and node.target is operator.setitem:
            node.target = written
        elif node.op == "call_function" and node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"):
            node.target = node.target[:-1]
            if not hasattr(torch.Tensor, node.target):
                raise BadInput(f"{node.target}_ has no form that leaves its operand alone", where=node.name)
        elif not (node.op == "call_module" and node.target in in_place):
            continue
        if isinstance(operand, fx.Node):
            _refuse_parts(graph, operand, node)
            _read_later(graph, operand, node)


def written(x: Tensor, key: Any, value: Any) -> Tensor:
    """``x`` as it is after ``x[key] = value``."""
    if not isinstance(value, Tensor):  # a constant mask, which more runtimes know than writing at indices
        mask = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
        mask[key] = True
        return x.masked_fill(mask, value)
    result = x.clone()
    result[key] = value
    return result


def _refuse_parts(graph: fx.Graph, operand: fx.Node, node: fx.Node) -> None:
    """
    Raises:
        BadInput: what a node writes over is a part of a value that is read afterwards.
    """
    order = {n: i for i, n in enumerate(graph.nodes)}
    while str(getattr(operand.target, "__name__", operand.target)) in _VIEWS.split() and operand.all_input_nodes:
        operand = operand.all_input_nodes[0]
        if any(order[user] > order[node] for user in operand.users):
            raise BadInput(
                "writes over a part of a value that is read afterwards",
                where=node.name,
                hint=f"give {operand.name} a new value, such as by torch.cat or torch.where",
            )


def _read_later(graph: fx.Graph, old: fx.Node, new: fx.Node) -> None:
    order = {n: i for i, n in enumerate(graph.nodes)}
    for user in [u for u in old.users if order[u] > order[new]]:
        user.replace_input_with(old, new)
