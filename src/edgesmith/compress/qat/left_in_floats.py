"""Why layers stay in floats that were not even tried."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping

import torch
from torch import fx, nn

from edgesmith.compress.qat.folding import PRODUCTS
from edgesmith.compress.qat.quantized_module import layers
from edgesmith.compress.qat.settings import Settings

__all__ = ["left_in_floats"]

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
_FUNCTIONS = frozenset(
    (
        *(
            nn.functional.conv1d,
            nn.functional.conv2d,
            nn.functional.conv3d,
            nn.functional.linear,
            nn.functional.bilinear,
        ),
        *(nn.functional.conv_transpose1d, nn.functional.conv_transpose2d, nn.functional.conv_transpose3d),
        *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum, operator.matmul),
    )
)
_METHODS = frozenset(("matmul", "mm", "bmm", "addmm", "baddbmm", "__matmul__"))


def left_in_floats(
    module: nn.Module, network: fx.GraphModule, settings: Settings, opaque: Mapping[str, str], known: Collection[str]
) -> dict[str, str]:
    """Layers with weights that are not quantised, and parameters of other products, with a reason each; by path.

    Args:
        module: as it was given.
        network: prepared.
        opaque: parts that could not be traced, and why.
        known: paths that have a reason.
    """
    done = {path for path, _ in layers(network)} | set(known)
    called = {str(node.target) for node in network.graph.nodes if node.op == "call_module"}
    multiplied = _multiplied(network.graph)
    found: dict[str, str] = {}
    inside: tuple[str, ...] = ()
    for path, part in module.named_modules():
        if not isinstance(part, _LAYERS) or path.startswith(inside) or path in done or settings.layer(path) is None:
            continue
        inside += (f"{path}.",)
        found[path] = _reason(path, part, settings, opaque, called, multiplied)
    for path in multiplied:
        owner = path.rpartition(".")[0]
        is_layer = any(f"{path}.".startswith(f"{layer}.") for layer in (*found, *done) if layer)
        if (
            not is_layer
            and settings.layer(owner) is not None
            and isinstance(operator.attrgetter(path)(network), nn.Parameter)
        ):
            found[path] = "it is no weight of a layer: the network's code multiplies by it"
    return found


def _reason(
    path: str,
    part: nn.Module,
    settings: Settings,
    opaque: Mapping[str, str],
    called: Collection[str],
    read: Collection[str],
) -> str:
    for name, why in opaque.items():
        if not name or f"{path}.".startswith(f"{name}."):
            return f"the code around it cannot be traced: {why}"
    if not isinstance(part, PRODUCTS):
        return f"{type(part).__name__} has no integer form"
    if "weight" not in part._parameters:
        return "its weight is computed from other parameters"
    if path not in called and f"{path}.weight" in read:
        return "the network's code uses its weight otherwise than by calling it"
    if path not in called:
        return "the example does not evaluate it"
    if type(part) not in PRODUCTS:
        return f"{type(part).__name__} uses its weight otherwise than by one call of a function"
    return f"its weights are too few for blocks, or blocks of {settings.block} do not divide its inputs"


def _multiplied(graph: fx.Graph) -> set[str]:
    """Paths of parameters that functions multiply by, as they are or after other operations on parameters alone."""
    found: set[str] = set()
    sources: dict[fx.Node, set[str]] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            sources[node] = {str(node.target)}
            continue
        given = node.all_input_nodes
        if node.op in ("call_function", "call_method") and (node.target in _FUNCTIONS or node.target in _METHODS):
            found |= {path for source in given for path in sources.get(source, ())}
        elif node.op.startswith("call_") and given and all(source in sources for source in given):
            sources[node] = {path for source in given for path in sources[source]}
    return found
