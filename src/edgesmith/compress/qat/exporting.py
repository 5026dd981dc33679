"""A traced network as the compiler's float graph, with the traced name of every value."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.utils import _pytree

from edgesmith.compress.qat.norm_edit import with_arithmetic
from edgesmith.errors import ModelError
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.frontend.torch import export
from edgesmith.ir import Graph, Patch
from edgesmith.passes import PASSES, optimize

__all__ = ["Exported", "exported", "on_cpu", "with_modules"]


_PASSES = frozenset(PASSES) - {"absorb-shuffles", "common-subexpressions", "fold-batch-norm", "fold-scale-shift"}
"""Those after which layers have the weights that training has, in its order, and two traced nodes two values."""
_ARITHMETIC = frozenset(("Add", "Div", "Mul", "Sub"))


@dataclass(frozen=True, eq=False)
class Exported:
    """A float graph, optimised.

    Args:
        names: of a value of the graph: the name of the traced node that computes it, where there is one.
    """

    graph: Graph
    names: Mapping[str, str]

    @cached_property
    def values(self) -> Mapping[str, str]:
        """Of a traced node: the value of the graph, where it is left."""
        return {name: value for value, name in self.names.items()}


def exported(network: fx.GraphModule, example: Any) -> Exported:
    """The float graph of a traced network, for inputs shaped like ``example``.

    Each intermediate value is an output while PyTorch exports the network, which tells its name in the ONNX model;
    then these outputs are taken away again.

    Raises:
        ModelError: PyTorch cannot export the network, or exported something else.
    """
    network = copy.deepcopy(network).cpu().eval()
    given = on_cpu(example)
    with torch.no_grad():
        ShapeProp(network).propagate(*given)
    inputs = [n for n in network.graph.nodes if n.op == "placeholder"]
    inner = [n for n in network.graph.nodes if n.op.startswith("call_") and _is_tensor(n)]
    (result,) = (n for n in network.graph.nodes if n.op == "output")
    results, _ = _pytree.tree_flatten(result.args[0], is_leaf=lambda n: isinstance(n, fx.Node))
    result.args = ((result.args[0], *inner),)
    network.recompile()
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        path = Path(folder) / "network.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch advises against its own faster exporter
            export(network, given, path, traced=True)
        model = onnx.load(path)
    count = len([r for r in results if r is not None])
    outputs = [o.name for o in model.graph.output]
    if len(outputs) != count + len(inner) or len(model.graph.input) != len(inputs):
        why = f"{len(outputs)} outputs and {len(model.graph.input)} inputs in the ONNX model"
        raise ModelError(f"{why}, {count + len(inner)} and {len(inputs)} in the network", where="export")
    names = {i.name: n.name for i, n in zip(model.graph.input, inputs, strict=True)}
    returned = (r.name for r in results if isinstance(r, fx.Node))
    for value, name in zip((*outputs[count:], *outputs[:count]), (*(n.name for n in inner), *returned), strict=False):
        names.setdefault(value, name)
    del model.graph.output[count:]
    _rename(model.graph, names)
    graph, report = optimize(with_arithmetic(bind(normalize(model))), only=_PASSES, allowed=_is_lasting)
    left: dict[str, str] = {v: n for v, n in names.items() if v in graph.types}
    for value, name in names.items():
        while value not in graph.types and value in report.renamed:
            value = report.renamed[value]
        if value in graph.types and value not in graph.constants:
            left.setdefault(value, name)
    return Exported(graph, left)


def _is_lasting(graph: Graph, patch: Patch) -> bool:
    """Whether a patch would still be right when training has changed parameters, such as a factor that begins as 1."""
    return not (patch.rename and any(graph.nodes[graph.position[n]].op.name in _ARITHMETIC for n in patch.remove))


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Call values what the network calls them, where no other value is called so; ``names`` is changed too."""
    if any(a.type in (a.GRAPH, a.GRAPHS) for n in graph.node for a in n.attribute):
        return
    computed = {v for n in graph.node for v in n.output} | {i.name for i in graph.input}
    taken = computed | {v for n in graph.node for v in n.input} | {i.name for i in graph.initializer}
    new: dict[str, str] = {}
    for value, name in names.items():
        if name not in taken and value in computed:
            new[value] = name
            taken.add(name)  # of a value and its copy, the first
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [new.get(v, v) for v in values]
    for info in (*graph.input, *graph.output, *graph.value_info):
        info.name = new.get(info.name, info.name)
    for value, name in new.items():
        del names[value]
        names[name] = name


def on_cpu(example: Any) -> tuple[torch.Tensor, ...]:
    """The inputs that an example stands for, on the CPU."""
    given = example if isinstance(example, tuple) else (example,)
    return tuple(x.detach().cpu() if isinstance(x, torch.Tensor) else x for x in given)


def with_modules(graph: fx.Graph, modules: Mapping[str, Any], root: nn.Module) -> fx.GraphModule:
    """A network of ``graph`` with some modules of its own, by path, and the rest copied from ``root``."""
    held: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op == "call_module" and node.target not in held:
            held[node.target] = modules.get(node.target) or copy.deepcopy(root.get_submodule(node.target)).eval()
        elif node.op == "get_attr":
            path, _, name = node.target.rpartition(".")
            held[node.target] = getattr(root.get_submodule(path), name)
    return fx.GraphModule(held, copy.deepcopy(graph)).eval()


def _is_tensor(node: fx.Node) -> bool:
    """Whether ShapeProp found a tensor of f32 there."""
    return getattr(node.meta.get("tensor_meta"), "dtype", None) is torch.float32
