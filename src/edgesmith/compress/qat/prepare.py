"""A module made ready for quantisation-aware training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgesmith.compress.qat.exporting import exported, with_modules
from edgesmith.compress.qat.folding import (
    NORMS,
    PRODUCTS,
    BatchNorm,
    Product,
    folded,
    scaled,
    starting_gain,
    with_parameters,
)
from edgesmith.compress.qat.given_module import check_given
from edgesmith.compress.qat.layer import QuantizedLayer
from edgesmith.compress.qat.left_in_floats import left_in_floats
from edgesmith.compress.qat.matching import Sites, rounded_readers, sites
from edgesmith.compress.qat.quantized_module import Quantization, QuantizedModule
from edgesmith.compress.qat.quantizers import ACTIVATIONS, ActivationQuantizer
from edgesmith.compress.qat.scales import Stored, stored_values
from edgesmith.compress.qat.settings import BLOCKS, LayerBits, Reads, Settings
from edgesmith.compress.qat.sign_inputs import check_signs
from edgesmith.compress.qat.trace import traced
from edgesmith.compress.qat.weights_start import has_blocks, weights_started
from edgesmith.errors import BadInput

__all__ = ["prepare"]

QUANTIZERS = "quantizers"
"""Path of the quantisers of values, where nothing else is called so."""


def prepare(
    module: nn.Module, example: Any, settings: Settings | None = None, *, init: Iterable[Any] | None = None
) -> QuantizedModule:
    """A copy of a trained module that computes with rounded weights and values, for any training loop.

    What is rounded, and where, is what ``edgesmith.quantize`` would do to the exported module, so that ``convert``
    gives a model whose layers compile to integers. The scales start where post-training quantisation puts them.

    Layers keep their paths, parameters their names (``conv.weight``); batch normalisation that is folded is at
    ``conv.norm``, the quantisers of values at ``quantizers``. To resume, prepare in the same way and load the state.

    Advice: train the float network first; then a tenth to a fifth of its epochs, at a tenth to a hundredth of its
    largest learning rate, falling to 0 (cosine). With Adam, 1e-4 to 5e-4 for weights of 8 bits and 5e-4 to 1e-3 for
    4; with SGD and momentum, 0.01. Use ``parameter_groups``, and ``Schedule`` or ``freeze`` to keep the statistics of
    batch normalisation for the last third. 8 bits want one to three epochs, 4 bits five to fifteen, ternary and binary
    weights as many as the float network.

    Args:
        module: on any device; it is not changed.
        example: one input, or a tuple of inputs, of the shapes that the program is compiled for.
        settings: how (default: LSQ, 8 bits).
        init: calibration data: batches of inputs (a tensor, or a tuple that begins with the inputs); None: the example.

    Raises:
        BadInput: the module cannot be traced, is prepared already, or is not in float32; the settings fit nothing; the
            data do not fit; hooks or masks compute weights; or layers would read the signs of numbers that are never
            negative.
        ModelError: PyTorch cannot export the module.
    """
    settings = settings or Settings()
    check_given(module)
    trace = traced(module, example)
    network = trace.graph
    calls = _calls(network, settings)
    if not calls:
        reasons = "; ".join(f"{part or 'the module'}: {why}" for part, why in trace.opaque.items())
        raise BadInput(
            "no layer can be quantised" + (f", parts cannot be traced: {reasons}" if reasons else ""),
            where="prepare",
            hint="Conv and Linear layers can be, where control flow does not depend on values",
        )
    paths = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    for pattern in settings.unused(paths):
        raise BadInput(f"no layer is called {pattern!r}", where="prepare", hint=f"there is: {', '.join(paths[:8])}")
    _fold_norms(network.graph, calls)
    _part_sites(network, calls)
    skeleton = copy.deepcopy(network.graph)
    plain = {c.path: with_parameters(c.layer, *folded(c.layer.weight, c.layer.bias, c.norm)) for c in calls.values()}
    found = sites(
        exported(with_modules(skeleton, plain, network), example),
        {name: _array(plain[c.path].weight) for name, c in calls.items()},
        [name for name, c in calls.items() if c.bits.reads is not Reads.INTEGERS],
        settings.post_training,
    )
    if not found.products and not found.others:
        name = next(iter(calls))
        raise BadInput(
            f"no layer can be quantised, {calls[name].path} and all others because {_why_float(found, name)}",
            where="prepare",
            hint="Conv and Linear layers can be, with finite weights that nothing computes",
        )
    signs = [name for name in found.others if calls[name].bits.reads is Reads.SIGNS]
    check_signs(found.exported.graph, [(calls[name].path, found.others[name].input) for name in signs])
    values = {} if not found.products else stored_values(found, [example] if init is None else init)
    quantizers = _value_quantizers(values, settings)
    products = {n: f for n, f in found.products.items() if f.input in values}
    for name, form in {**products, **found.others}.items():
        call = calls[name]
        stored = values[form.input] if name in products else None
        start = None if stored is None else stored.start
        shape = plain[call.path]
        bias = shape.bias if name in found.biased else None
        weights = scaled(call.layer.weight, starting_gain(call.layer.weight, call.norm))
        quantizer = weights_started(weights, bias, start, call.bits, settings)
        source = None if stored is None else quantizers[stored.group]
        reads, biased = call.bits.reads, bias is not None
        layer = QuantizedLayer(
            *(call.layer, call.norm, quantizer, source), reads=reads, biased=biased, keep_zeros=settings.keep_zeros
        )
        network.set_submodule(call.path, layer)
    floats: dict[str, str] = {}
    for name in [n for n in calls if n not in products and n not in found.others]:
        floats[calls[name].path] = _why_float(found, name)
        network.set_submodule(calls[name].path, _unfolded(calls[name]))
    holder = QUANTIZERS
    while hasattr(network, holder):
        holder += "_"
    network.add_module(holder, nn.Module())
    for group, made in quantizers.items():
        network.get_submodule(holder).add_module(group, made)
    stored_names = _insert(network.graph, found, values, holder)
    network.recompile()
    floats |= left_in_floats(module, network, settings, trace.opaque, floats.keys())
    state = Quantization(settings, example, skeleton, stored_names, floats, trace.opaque)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    return QuantizedModule(network, network.graph, state).to(device).train(module.training)


def _why_float(found: Sites, name: str) -> str:
    if name in found.unread:
        return found.unread[name]
    node = found.exported.graph.producer(found.exported.values.get(name, ""))
    return found.floats.get(node.name if node else "", "its weights are not in the exported network as they are here")


@dataclass(frozen=True)
class _Call:
    """A layer that is to be quantised, where it is called."""

    path: str
    layer: Product
    norm: BatchNorm | None
    bits: LayerBits


def _calls(network: fx.GraphModule, settings: Settings) -> dict[str, _Call]:
    """By the name of the traced call."""
    found = {}
    for node in network.graph.nodes:
        layer = _module(network, node)
        if type(layer) not in PRODUCTS:
            continue
        bits = settings.layer(str(node.target))
        if bits is not None and (bits.weights != BLOCKS or has_blocks(cast(Product, layer).weight, settings.block)):
            found[node.name] = _Call(str(node.target), cast(Product, layer), _norm_after(network, node), bits)
    return found


def _module(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _norm_after(network: fx.GraphModule, node: fx.Node) -> BatchNorm | None:
    """The batch normalisation that alone reads a layer."""
    if len(node.users) != 1:
        return None
    norm = _module(network, next(iter(node.users)))
    if type(norm) not in NORMS:
        return None
    found = cast(BatchNorm, norm)
    return found if found.running_mean is not None else None


def _fold_norms(graph: fx.Graph, calls: Mapping[str, _Call]) -> None:
    """Take the calls of normalisations that layers fold in out of the graph."""
    for node in list(graph.nodes):
        if node.name in calls and calls[node.name].norm is not None:
            (norm,) = node.users
            norm.replace_all_uses_with(node)
            graph.erase_node(norm)


def _part_sites(network: fx.GraphModule, calls: dict[str, _Call]) -> None:
    """Give a layer that is called several times a path for each call; the parameters are the same."""
    seen: set[str] = set()
    for node in network.graph.nodes:
        if node.name not in calls:
            continue
        call, path = calls[node.name], calls[node.name].path
        while path in seen:
            path = f"{path}_again"
        if path != call.path:
            network.add_submodule(path, call.layer)
            node.target = path
            calls[node.name] = replace(call, path=path)
        seen.add(path)


def _unfolded(call: _Call) -> nn.Module:
    """A layer that stays in floats after all, with the normalisation that was taken out of the graph."""
    return call.layer if call.norm is None else nn.Sequential(call.layer, call.norm)


def _value_quantizers(values: Mapping[str, Stored], settings: Settings) -> dict[str, ActivationQuantizer]:
    """By group."""
    made = ACTIVATIONS[settings.stored_values]
    return {group: made(start) for group, start in {s.group: s.start for s in values.values()}.items()}


def _insert(graph: fx.Graph, found: Sites, values: Mapping[str, Stored], holder: str) -> dict[str, str]:
    """Put roundings behind values; returns the path of the quantiser of each traced node whose value is stored."""
    names = found.exported.names
    nodes = {n.name: n for n in graph.nodes}
    last_input = [n for n in graph.nodes if n.op == "placeholder"][-1]
    stored = {}
    for value, how in values.items():
        if value not in names:
            continue
        node, path = nodes[names[value]], f"{holder}.{how.group}"
        stored[node.name] = path
        if how.moved:
            continue
        readers = list(rounded_readers(found, value, node))
        with graph.inserting_after(last_input if node.op == "placeholder" else node):
            rounded = graph.call_module(path, (node,))
        for reader in readers:
            reader.replace_input_with(node, rounded)
    return stored


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
