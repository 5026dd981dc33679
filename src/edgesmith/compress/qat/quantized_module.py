"""The module that training sees."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from edgesmith.compress.qat.layer import QuantizedLayer
from edgesmith.compress.qat.settings import Settings

__all__ = ["Quantization", "QuantizedModule", "layers"]


@dataclass(frozen=True)
class Quantization:
    """What a prepared module is, apart from its layers.

    Args:
        settings: what it was prepared with, or changed to.
        example: inputs of the shapes that the program is compiled for.
        skeleton: the calls of layers, without quantisers.
        stored: of the traced nodes whose values are stored as integers, the path of the quantiser.
        floats: layers in floats though they were to be quantised, and why, by path.
        opaque: parts whose code could not be traced, and why: what they contain stays in floats.
    """

    settings: Settings
    example: Any
    skeleton: fx.Graph
    stored: Mapping[str, str]
    floats: Mapping[str, str]
    opaque: Mapping[str, str]

    def __deepcopy__(self, memo: dict[int, Any]) -> Quantization:
        return self


class QuantizedModule(fx.GraphModule):
    """A network with rounded weights and values; made by ``prepare``.

    Args:
        root: holds the layers.
        graph: of calls of layers and of quantisers.
    """

    quantization: Quantization

    def __init__(self, root: nn.Module, graph: fx.Graph, quantization: Quantization) -> None:
        super().__init__(root, graph, type(self).__name__)
        self.quantization = quantization

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedModule:
        root = nn.Module()
        root.__dict__.update({k: copy.deepcopy(self.__dict__[k], memo) for k in nn.Module().__dict__})
        made = QuantizedModule(root, copy.deepcopy(self.graph), self.quantization)
        made.train(self.training)
        return made


def layers(module: nn.Module) -> Iterator[tuple[str, QuantizedLayer]]:
    """The quantised layers of a module by path."""
    for path, part in module.named_modules():
        if isinstance(part, QuantizedLayer):
            yield path, part
