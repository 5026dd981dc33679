"""A trained module as a QDQ model whose layers compile to integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from edgesmith.compress.qat.block_edit import with_blocks
from edgesmith.compress.qat.exporting import Exported, exported, with_modules
from edgesmith.compress.qat.inheritance import inherited
from edgesmith.compress.qat.layer import QuantizedLayer
from edgesmith.compress.qat.matching import Sites, sites
from edgesmith.compress.qat.quantized_module import QuantizedModule, check_whole, layers
from edgesmith.compress.qat.quantizers import ActivationQuantizer
from edgesmith.compress.qat.settings import Reads
from edgesmith.compress.qat.sign_edit import with_signs
from edgesmith.export import to_onnx
from edgesmith.ir import DType, Graph
from edgesmith.oldest_opset import in_oldest_opset
from edgesmith.quantize import Parameters, QParams
from edgesmith.quantize.insert import quantized_graph
from edgesmith.quantize.products import Product

__all__ = ["Converted", "convert"]


@dataclass(frozen=True, eq=False)
class Converted:
    """A quantised graph, and which of its values are which of the trained module.

    Args:
        source: the float graph, with batch normalisation folded in.
        graph: the same with QuantizeLinear and DequantizeLinear.
        parameters: scales and zero points.
        values: by the name of a traced node: the value of both graphs (before the rounding) that it computes.
        floats: products in floats, and why, by node name.
    """

    source: Graph
    graph: Graph
    parameters: Parameters
    values: Mapping[str, str]
    floats: Mapping[str, str]

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The quantised graph as ONNX, for ``edgesmith.compile`` or any other runtime."""
        return in_oldest_opset(to_onnx(self.graph))


def convert(module: QuantizedModule, example: Any = None) -> Converted:
    """The QDQ model of a prepared module, as it computes in evaluation mode.

    Weights are stored as the integers that training ended with: i8 in the model, in as few bits as hold them in the
    program (4 bits, ternary in 2, binary in 1).

    Args:
        example: inputs of other shapes than it was prepared for, such as another batch.

    Raises:
        BadInput: the module is not what ``prepare`` gave.
        ModelError: PyTorch cannot export the module.
    """
    check_whole(module, "convert")
    trained, about = dict(layers(module)), module.quantization
    plain = {path: layer.plain() for path, layer in trained.items()}
    network = with_modules(about.skeleton, plain, module)
    calls = {n.name: str(n.target) for n in about.skeleton.nodes if n.op == "call_module" and n.target in plain}
    found = sites(
        exported(network, about.example if example is None else example),
        {name: plain[path].weight.detach().cpu().numpy() for name, path in calls.items()},
        [name for name, path in calls.items() if trained[path].reads is not Reads.INTEGERS],
        about.settings.post_training,
    )
    values = _values(module, found)
    weights: dict[str, QParams] = {}
    integers: dict[str, np.ndarray] = {}
    for name, form in found.products.items():
        if form.input in values:
            weights[form.node.name], integers[form.node.name] = _coded(trained[calls[name]], form)
    parameters = Parameters(values, weights, integers)
    graph = quantized_graph(found.exported.graph, parameters, found.settings)
    for name, form in found.others.items():
        layer = trained[calls[name]]
        if layer.reads is Reads.SIGNS:
            graph = with_signs(graph, form, *_coded(layer, form))
        else:
            codes, scale = (t.cpu().numpy() for t in layer.coded())
            graph = with_blocks(graph, form, codes.astype(np.int8), scale)
    return Converted(found.exported.graph, graph, parameters, found.exported.values, found.floats)


def _values(module: QuantizedModule, found: Sites) -> dict[str, QParams]:
    known, stored = _known(module, found.exported), found.placement.values
    for value, like in inherited(found.exported.graph, stored, found.exported.names).items():
        if like in known:
            known[value] = known[like]
    return {v: known[v] for v in stored if v in known}


def _known(module: QuantizedModule, found: Exported) -> dict[str, QParams]:
    made = {}
    for name, path in module.quantization.stored.items():
        quantizer = module.get_submodule(path)
        assert isinstance(quantizer, ActivationQuantizer)
        if name in found.values:
            made[found.values[name]] = quantizer.parameters_now()
    return made


def _coded(layer: QuantizedLayer, form: Product) -> tuple[QParams, np.ndarray]:
    """The parameters and integers of a product's weights, laid out as the graph has them."""
    codes, scale = (t.detach().cpu().numpy() for t in layer.coded())
    integers = codes.astype(np.int8)
    if form.axis != 0:
        integers = integers.T
    low, high = layer.quantizer.low, layer.quantizer.high
    scale = scale.astype(np.float32)
    axis = form.axis if scale.ndim else None
    return QParams(scale, np.zeros(scale.shape, np.int8), DType.I8, axis, low, high), np.ascontiguousarray(integers)
