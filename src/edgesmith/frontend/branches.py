"""Inlines If nodes whose condition is a constant."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from edgesmith.errors import ModelError
from edgesmith.frontend.skeleton import Skeleton
from edgesmith.frontend.structure import label, subgraphs
from edgesmith.frontend.tensors import inline_raw

__all__ = ["inline_constant_if"]


def inline_constant_if(skeleton: Skeleton) -> bool:
    """Replace every If of constant condition by the branch it takes, in place; returns whether there was one.

    The outputs keep their names; values inside the branch do unless the name is taken.
    """
    graph = skeleton.model.graph
    conditions = {tensor.name: tensor for tensor in graph.initializer}
    if not any(node.op_type == "If" and node.input[:1] and node.input[0] in conditions for node in graph.node):
        return False
    taken = {name for node in graph.node for name in node.output} | set(skeleton.constants())
    taken |= {value.name for value in graph.input}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "If" and node.input and node.input[0] in conditions:
            branch = _branch(node, conditions[node.input[0]])
            inlined, constants = _inline(node, branch, taken)
            nodes += inlined
            skeleton.adopt(constants)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return True


def _branch(node: NodeProto, condition: TensorProto) -> GraphProto:
    inline_raw(condition)
    values = numpy_helper.to_array(condition)
    if values.size != 1 or condition.data_type != TensorProto.BOOL:
        raise ModelError(
            f"the condition has {values.size} elements of type {values.dtype}, needs one bool", where=label(node)
        )
    name = "then_branch" if values.item() else "else_branch"
    branch: GraphProto | None = next((attribute.g for attribute in node.attribute if attribute.name == name), None)
    if branch is None:
        raise ModelError(f"there is no {name}", where=label(node))
    return branch


def _inline(node: NodeProto, branch: GraphProto, taken: set[str]) -> tuple[list[NodeProto], list[TensorProto]]:
    if len(branch.output) != len(node.output):
        raise ModelError(f"the branch has {len(branch.output)} outputs, If has {len(node.output)}", where=label(node))
    own = [name for inner in branch.node for name in inner.output if name]
    produced = set(own)
    renamed: dict[str, str] = {}
    copies: list[NodeProto] = []
    for inner, outer in zip(branch.output, node.output, strict=True):
        if not outer:
            continue
        if inner.name in produced and inner.name not in renamed:
            renamed[inner.name] = outer
        else:
            copies.append(helper.make_node("Identity", [inner.name], [outer]))
    for name in chain(own, (tensor.name for tensor in branch.initializer)):
        if name not in renamed:
            renamed[name] = _fresh(name, taken)
            taken.add(renamed[name])
    for inner_node in branch.node:
        _rename(inner_node, renamed)
    for copy in copies:
        copy.input[0] = renamed.get(copy.input[0], copy.input[0])
    constants = list(branch.initializer)
    for tensor in constants:
        tensor.name = renamed[tensor.name]
    return [*branch.node, *copies], constants


def _fresh(name: str, taken: set[str]) -> str:
    candidates: Iterator[str] = chain([name], (f"{name}_{number}" for number in range(1, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _rename(node: NodeProto, renamed: dict[str, str]) -> None:
    node.input[:] = [renamed.get(name, name) for name in node.input]
    node.output[:] = [renamed.get(name, name) for name in node.output]
    for graph in subgraphs(node):
        for inner in graph.node:
            _rename(inner, renamed)
        for output in graph.output:
            output.name = renamed.get(output.name, output.name)
