"""Zoo networks as PyTorch modules: ``module("mobilenet-v2")`` is a network to train, prune, quantise and export.

What comes back is a ``torch.fx.GraphModule`` of ordinary layers: its ``code`` reads like a hand-written ``forward``,
its ``graph`` is there without tracing, and ``state_dict`` has the names of the ONNX model that ``zoo.build`` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

try:
    import torch
    from torch import fx, nn
except ImportError as error:
    from edgesmith.errors import MissingDependency

    raise MissingDependency(
        "PyTorch is not installed", where="edgesmith.zoo.torch", hint="install it: pip install edgesmith[train]"
    ) from error

from edgesmith import zoo
from edgesmith.errors import BadInput
from edgesmith.zoo.builder import Value
from edgesmith.zoo.network import Network, Variant
from edgesmith.zoo.torch_builder import TorchBuilder
from edgesmith.zoo.torch_weights import initialise, load, materialise

__all__ = ["encoder", "module"]

Init = Literal["train", "zoo"]


def module(
    name: str,
    *,
    classes: int | None = None,
    width: float = 1.0,
    depth: float = 1.0,
    image_size: int | None = None,
    channels: int | None = None,
    reduction: int | None = None,
    softmax: bool | None = None,
    seed: int = 0,
    init: Init = "train",
) -> fx.GraphModule:
    """A network of the zoo as a module of float32 inputs (N, C, H, W), in training mode.

    N is free. So are H and W where the network is fully convolutional up to its global average pooling; padding stays
    that of ``image_size``. A network of one output returns it, one of several a dict by name. The module is on
    PyTorch's default device; under ``torch.device("meta")`` it has shapes and no weights, which suffices for counting.

    Args:
        name: one of ``zoo.names()``.
        classes: number of classes, or length of an embedding; None for the published number.
        width: multiplier of channels, any positive number; channels become multiples of 8, or of what groups need.
        depth: multiplier of the layers of each stage, rounded up (arXiv:1905.11946, section 3.3).
        image_size: height and width in pixels, or the height of pictures that are not square; None as published.
        channels: of the input picture, 1 for grey; None for the published number.
        reduction: pixels of the input for one of the coarsest picture, a divisor of the published number (32 for most):
            8 gives 4x4 features from 32x32 pictures. The first strides become 1 and the first pools go, as is usual
            for pictures of 28 to 64 pixels.
        softmax: whether a softmax at the end stays; None keeps it with ``init="zoo"`` alone, as losses take logits.
        seed: decides the weights.
        init: "train" for weights to train from (``torch_weights.initialise``), "zoo" for those of ``zoo.build``, whose
            arguments it then admits: published widths, and no depth, channels or reduction.

    Raises:
        EdgesmithError: the name is unknown.
        BadInput: an argument does not suit the network.
        MissingDependency: PyTorch is not installed (when this file is imported).
    """
    network = zoo.describe(name)
    published = init == "zoo"
    classes = network.classes if classes is None else classes
    if published and (depth != 1.0 or channels is not None or reduction is not None):
        raise _unsuitable(
            name, "the zoo's own weights are of published depth, channels and reduction", "Use init='train'."
        )
    variant = _variant(network, classes, width, depth)
    built, outputs = _built(network, variant, image_size, network.channels if channels is None else channels, reduction)
    result = built.module(outputs, _class_name(name))
    if not (published if softmax is None else softmax):
        _without_softmax(result)
    device = torch.get_default_device()
    if device.type == "meta":
        return result
    materialise(result)
    if published:
        load(result, zoo.build(name, seed=seed, image_size=image_size, classes=classes, width=width))
    else:
        initialise(result, seed)
    return result.to(device)


def encoder(name: str, **options: Any) -> tuple[fx.GraphModule, int]:
    """A network without the layer that scores its classes: (N, features), and how many features.

    Features that are still a picture are averaged over it.

    Args:
        name: a network with one output (N, classes).
        options: as for ``module``, without ``classes`` and ``softmax``.

    Raises:
        BadInput: the network has no such features, as a detector; or as ``module``.
    """
    network = module(name, **options, softmax=False)
    scores = _scoring_layer(network)
    if scores is None:
        raise _unsuitable(name, "it has no features of a whole picture", "Choose a classifier.")
    scoring = network.get_submodule(str(scores.target))
    output = network.graph.output_node()
    (features,) = scores.all_input_nodes
    with network.graph.inserting_before(output):
        if isinstance(scoring, nn.Conv2d):
            network.add_submodule("features_pool", nn.AdaptiveAvgPool2d(1))
            features = network.graph.call_module("features_pool", (features,))
            features = network.graph.call_method("flatten", (features, 1))
    output.args = (features,)
    _clean(network)
    return network, scoring.in_channels if isinstance(scoring, nn.Conv2d) else int(scoring.in_features)  # type: ignore[arg-type]


def _unsuitable(name: str, why: str, hint: str) -> BadInput:
    return BadInput(why, where=f"zoo network {name!r}", hint=hint)


def _variant(network: Network, classes: int, width: float, depth: float) -> Variant:
    if classes < 1:
        raise _unsuitable(network.name, f"classes is {classes}", "Use 1 or more.")
    for multiplier, value in (("width", width), ("depth", depth)):
        if value <= 0.0:
            raise _unsuitable(network.name, f"{multiplier} is {value}", "Use a positive number.")
        if value != 1.0 and multiplier not in network.multipliers:
            known = ", ".join(network.multipliers) or "none"
            raise _unsuitable(network.name, f"it has no {multiplier} multiplier", f"Its multipliers: {known}.")
    return Variant(classes, width, depth)


def _built(
    network: Network, variant: Variant, image_size: int | None, channels: int, reduction: int | None
) -> tuple[TorchBuilder, Mapping[str, Value]]:
    for argument, value in (("image_size", image_size), ("channels", channels)):
        if value is not None and value < 1:
            raise _unsuitable(network.name, f"{argument} is {value}", "Use 1 or more.")
    undone = 1
    if reduction is not None:
        whole = _describe(network, variant, None, channels, 1)[0].reduction
        if reduction < 1 or whole % reduction:
            known = ", ".join(str(r) for r in range(1, whole + 1) if whole % r == 0)
            raise _unsuitable(network.name, f"reduction {reduction} does not divide its {whole}", f"Possible: {known}.")
        undone = whole // reduction
    return _describe(network, variant, image_size, channels, undone)


def _describe(
    network: Network, variant: Variant, image_size: int | None, channels: int, undone: int
) -> tuple[TorchBuilder, Mapping[str, Value]]:
    net: Any = TorchBuilder(network.name, undone)  # it has the methods of Builder that descriptions call
    x = net.input("input", (1, channels, *network.size(image_size)))
    return net, network.describe(net, x, variant)


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace(".", "_").split("-"))


def _without_softmax(network: fx.GraphModule) -> None:
    output = network.graph.output_node()
    last = output.args[0]
    if isinstance(last, fx.Node) and isinstance(_called(network, last), nn.Softmax):
        output.args = last.args
        _clean(network)


def _clean(network: fx.GraphModule) -> None:
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()


def _called(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _scoring_layer(network: fx.GraphModule) -> fx.Node | None:
    """The last layer with a weight matrix, from which one chain leads to an output that is not a picture."""
    node, flat = network.graph.output_node().args[0], False
    while isinstance(node, fx.Node) and len(node.all_input_nodes) == 1:
        layer = _called(network, node)
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            return node if flat or isinstance(layer, nn.Linear) else None
        flat = flat or node.target == "flatten"
        node = node.all_input_nodes[0]
    return None
