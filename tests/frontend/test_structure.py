from __future__ import annotations

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.frontend.normalize import normalize

from .onnx_models import assert_normal, build

make = helper.make_node


def chain(*nodes: tuple[str, str, str]) -> ModelProto:
    """Relu nodes given as (name, input, output)."""
    return build([make("Relu", [a], [b], name=name) for name, a, b in nodes], {"x": [2]}, ["y"])


def test_unsorted_nodes_are_sorted() -> None:
    result = normalize(chain(("c", "b", "y"), ("a", "x", "a"), ("b", "a", "b")))
    assert [node.name for node in result.graph.node] == ["a", "b", "c"]


def test_cycle_is_named() -> None:
    with pytest.raises(ModelError, match=r"cycle: .*'q'.*'p'.*'q'"):
        normalize(chain(("a", "x", "a"), ("p", "q", "p"), ("q", "p", "q"), ("c", "q", "y")))
    with pytest.raises(ModelError, match=r"cycle: .*'self'"):
        normalize(chain(("self", "y", "y")))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((("a", "x", "y"), ("b", "x", "y")), "'b'.*'y' has two definitions.*'a'"),
        ((("a", "x", "x"), ("b", "x", "y")), "'x' has two definitions.*graph input"),
        ((("a", "nothing", "y"),), "'a'.*'nothing' is used but nothing produces it"),
        ((("a", "x", "z"),), "output 'y'.*nothing produces"),
    ],
)
def test_broken_references(nodes: tuple[tuple[str, str, str], ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        normalize(chain(*nodes))


def test_repeated_graph_names() -> None:
    model = chain(("a", "x", "y"))
    model.graph.output.append(model.graph.output[0])
    with pytest.raises(ModelError, match="2 graph outputs"):
        normalize(model)


def test_unknown_operator_and_attribute() -> None:
    with pytest.raises(UnsupportedOp, match=r"'n'.*opset 17 has no operator 'Frobnicate'"):
        normalize(build([make("Frobnicate", ["x"], ["y"], name="n")], {"x": [2]}, ["y"]))
    with pytest.raises(ModelError, match=r"node 'n' \(Relu\): the model breaks ONNX's rules: .*bogus"):
        normalize(build([make("Relu", ["x"], ["y"], name="n", bogus=1)], {"x": [2]}, ["y"]))


def test_shape_contradiction_names_the_node() -> None:
    model = build(
        [make("MatMul", ["x", "w"], ["y"], name="n")], {"x": [2, 3]}, ["y"], {"w": np.ones((4, 5), np.float32)}
    )
    with pytest.raises(ModelError, match=r"node 'n' \(MatMul\): shape inference: "):
        normalize(model)


def test_type_contradiction_names_the_node() -> None:
    model = build([make("Add", ["x", "w"], ["y"], name="n")], {"x": [2]}, ["y"], {"w": np.ones(2)})
    with pytest.raises(ModelError, match=r"node 'n' \(Add\)"):
        normalize(model)


def test_every_node_gets_a_unique_name() -> None:
    result = normalize(chain(("same", "x", "a"), ("", "a", "b"), ("same", "b", "c"), ("mine", "c", "y")))
    names = [node.name for node in result.graph.node]
    assert len(set(names)) == 4 and all(names) and "mine" in names


def test_unused_nodes_and_outputs_go() -> None:
    nodes = [make("Neg", ["x"], ["dead"]), make("MaxPool", ["x"], ["y", "indices"], kernel_shape=[2])]
    result = normalize(build(nodes, {"x": [1, 2, 4]}, ["y"]))
    assert [list(node.output) for node in result.graph.node] == [["y"]]


def branch(name: str, *nodes: NodeProto, output: str) -> GraphProto:
    return helper.make_graph(list(nodes), name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def conditional(condition: str, opset: int = 17) -> ModelProto:
    """``y = relu(x) if condition else -x``, both branches with an inner value ``inner``."""
    positive = branch("then", make("Relu", ["x"], ["inner"]), make("Identity", ["inner"], ["t"]), output="t")
    negative = branch("else", make("Neg", ["x"], ["inner"]), make("Identity", ["inner"], ["e"]), output="e")
    node = make("If", [condition], ["z"], name="choice", then_branch=positive, else_branch=negative)
    return build(
        [node, make("Identity", ["z"], ["y"])],
        {"x": [2]},
        ["y"],
        {"no": np.array(False), "two": np.array([2])},
        opset=opset,
    )


@pytest.mark.parametrize("opset", [7, 13, 17])
def test_if_with_constant_condition_is_inlined(opset: int) -> None:
    result = normalize(conditional("no", opset))
    assert_normal(result)
    assert [node.op_type for node in result.graph.node] == ["Neg", "Identity", "Identity"]
    assert "z" in {name for node in result.graph.node for name in node.output}


def test_if_whose_condition_folds_is_inlined() -> None:
    model = conditional("same")
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(
        [make("Shape", ["x"], ["s"]), make("Equal", ["s", "two"], ["eq"]), make("Squeeze", ["eq"], ["same"]), *nodes]
    )
    result = normalize(model)
    assert_normal(result)
    assert [node.op_type for node in result.graph.node] == ["Relu", "Identity", "Identity"]


def test_if_branch_that_returns_its_initialiser() -> None:
    constant = branch("then", output="w")
    constant.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [2], [1, 2]))
    node = make("If", ["no"], ["z"], then_branch=constant, else_branch=constant)
    add = make("Add", ["x", "z"], ["y"])
    result = normalize(build([node, add], {"x": [2]}, ["y", "z"], {"no": np.array(False)}))
    assert_normal(result)
    assert [node.op_type for node in result.graph.node] == ["Add"]
    assert [tensor.name for tensor in result.graph.initializer] == ["z"]


def test_data_dependent_branch_is_refused() -> None:
    model = conditional("c")
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    with pytest.raises(UnsupportedOp, match=r"'choice'.*control flow"):
        normalize(model)
    assert_normal(normalize(model, bindings={"c": np.array(True)}))


def test_data_dependent_shape_is_refused() -> None:
    nodes = [make("NonZero", ["x"], ["nz"], name="n"), make("Cast", ["nz"], ["y"], to=TensorProto.FLOAT)]
    with pytest.raises(UnsupportedOp, match="'nz' depends on the data"):
        normalize(build(nodes, {"x": [2]}, ["y"]))


@pytest.mark.parametrize("opset", [20, 21])
def test_local_functions_are_inlined_and_standard_ones_kept(opset: int) -> None:
    body = [make("Relu", ["a"], ["r"]), make("Gelu", ["r"], ["b"])]
    imports = [helper.make_opsetid("", 20)]
    function = helper.make_function("mine", "Activate", ["a"], ["b"], body, imports)
    model = build(
        [make("Activate", ["x"], ["m"], domain="mine"), make("HardSwish", ["m"], ["y"])], {"x": [2]}, ["y"], opset=opset
    )
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.functions.append(function)
    result = normalize(model)
    assert_normal(result)
    assert [node.op_type for node in result.graph.node] == ["Relu", "Gelu", "HardSwish"]


def test_recursive_function_does_not_harm_the_caller() -> None:
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "F", ["a"], ["b"], [make("F", ["a"], ["b"], domain="mine")], imports)
    model = build([make("F", ["x"], ["y"], domain="mine")], {"x": [2]}, ["y"], opset=20)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.functions.append(function)
    with pytest.raises(ModelError):
        normalize(model)
