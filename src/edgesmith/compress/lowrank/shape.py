"""The architecture of a factorised network as JSON, and the same architecture made of the original module."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from edgesmith.compress.lowrank.method import Ranks, method_named
from edgesmith.compress.lowrank.placing import replaced
from edgesmith.errors import BadInput

__all__ = ["LayerShape", "apply_shape", "written"]

FORMAT = "edgesmith.lowrank.1"


@dataclass(frozen=True)
class LayerShape:
    """How one layer is replaced."""

    name: str
    method: str
    ranks: Ranks
    aliases: tuple[str, ...]
    options: dict[str, Any]


def written(layers: Sequence[LayerShape]) -> str:
    """As JSON."""
    return json.dumps({"format": FORMAT, "layers": [asdict(layer) for layer in layers]}, indent=1)


def apply_shape(module: nn.Module, text: str) -> nn.Module:
    """A copy of the original module with the factors' layers in place, for their ``state_dict`` to be loaded.

    Args:
        module: what was given to ``factorize``, or the same architecture.
        text: ``Factorized.to_json()``.

    Raises:
        BadInput: the text is none, or does not fit the module.
    """
    result = copy.deepcopy(module)
    for layer in _read(text):
        where = f"layer {layer.name!r}"
        try:
            part = result.get_submodule(layer.name)
        except AttributeError as error:
            raise BadInput("the module has no such layer", where=where, hint="give the original module") from error
        if not isinstance(part, nn.Linear | nn.Conv2d):
            raise BadInput(f"it is a {type(part).__name__}", where=where, hint="give the original module")
        method = method_named(layer.method, layer.options)
        refusal = method.refuses(part)
        if refusal:
            raise BadInput(refusal, where=where, hint="give the original module")
        chain = method.structure(part, layer.ranks).train(part.training)
        chain.requires_grad_(part.weight.requires_grad)
        for path in (layer.name, *layer.aliases):
            result = replaced(result, path, chain)
    return result


def _read(text: str) -> list[LayerShape]:
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT!r}")
        return [
            LayerShape(str(x["name"]), str(x["method"]), tuple(map(int, x["ranks"])), tuple(x["aliases"]), x["options"])
            for x in content["layers"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"this is no shape of a factorised network: {error}", where="apply_shape") from error
