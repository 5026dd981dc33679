"""A module as a graph of its layers, with nothing computed in place."""

from __future__ import annotations

import copy
import operator
from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn

from edgesmith.errors import BadInput

__all__ = ["traced"]

_IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def traced(module: nn.Module) -> fx.GraphModule:
    """A copy of the module whose forward pass is a graph of calls, without effects on its operands.

    Layers keep their paths. Control flow is fixed as it is in evaluation mode.

    Raises:
        BadInput: the control flow depends on values; the message names the part.
    """
    module = copy.deepcopy(module)
    in_place = {path for path, part in module.named_modules() if getattr(part, "inplace", False)}
    for path in in_place:
        module.get_submodule(path).inplace = False  # type: ignore[assignment]
    was_training = module.training
    module.eval()
    tracer = _Tracer()
    try:
        graph = tracer.trace(module)
    except Exception as error:  # whatever the module's own code raises when it meets a proxy
        part = tracer.inside[-1] if tracer.inside else ""
        kind = type(module.get_submodule(part)).__name__
        raise BadInput(
            f"its forward pass cannot be traced: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=f"{part or 'the module'} ({kind})",
            hint="Control flow must not depend on values: move that out of the module, or quantise the parts it calls.",
        ) from error
    _without_effects(graph, in_place)
    made = fx.GraphModule(module, graph)
    made.train(was_training)
    return made


class _Tracer(fx.Tracer):
    """Remembers where it is when something fails."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.inside.append(self.path_of_module(m))
        found = super().call_module(m, forward, args, kwargs)
        self.inside.pop()
        return found


def _without_effects(graph: fx.Graph, in_place: Collection[str]) -> None:
    """Operations that write over an operand give a new value, which is read from there on instead of the operand."""
    for node in list(graph.nodes):
        operand = node.args[0] if node.args else None
        if node.op == "call_function" and node.target in _IN_PLACE:
            node.target = _IN_PLACE[node.target]
        elif node.op == "call_function" and node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"):
            node.target = node.target[:-1]
            if not hasattr(torch.Tensor, node.target):
                raise BadInput(f"{node.target}_ has no form that leaves its operand alone", where=node.name)
        elif not (node.op == "call_module" and node.target in in_place):
            continue
        if isinstance(operand, fx.Node):
            _read_later(graph, operand, node)


def _read_later(graph: fx.Graph, old: fx.Node, new: fx.Node) -> None:
    order = {n: i for i, n in enumerate(graph.nodes)}
    for user in [u for u in old.users if order[u] > order[new]]:
        user.replace_input_with(old, new)
