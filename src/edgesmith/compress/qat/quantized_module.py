"""The module that training sees."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from torch import fx, nn

from edgesmith.compress.qat.layer import QuantizedLayer
from edgesmith.compress.qat.quantizers import ActivationQuantizer
from edgesmith.compress.qat.settings import Settings

__all__ = ["QuantizedModule"]


class QuantizedModule(fx.GraphModule):
    """A network with rounded weights and values; made by ``prepare``.

    Args:
        root: holds the layers.
        graph: of calls of layers and of quantisers.
        skeleton: the same without quantisers.
        settings: what it was prepared with.
        example: inputs of the shapes that the program is compiled for.
        stored: of the traced nodes whose values are stored as integers, the path of the quantiser.
    """

    def __init__(
        self,
        root: nn.Module,
        graph: fx.Graph,
        skeleton: fx.Graph,
        settings: Settings,
        example: Any,
        stored: Mapping[str, str],
    ) -> None:
        super().__init__(root, graph, type(self).__name__)
        self.skeleton, self.settings, self.example, self.stored = skeleton, settings, example, dict(stored)
        self.opaque: dict[str, str] = {}
        """Parts whose code could not be traced, and why: what they contain stays in floats."""

    def layers(self) -> Iterator[tuple[str, QuantizedLayer]]:
        """The quantised layers by path."""
        for path, module in self.named_modules():
            if isinstance(module, QuantizedLayer):
                yield path, module

    def value_quantizers(self) -> Iterator[tuple[str, ActivationQuantizer]]:
        """The quantisers of values by path."""
        for path, module in self.named_modules():
            if isinstance(module, ActivationQuantizer):
                yield path, module

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedModule:
        root = nn.Module()
        root.__dict__.update({k: copy.deepcopy(self.__dict__[k], memo) for k in nn.Module().__dict__})
        graph, skeleton = copy.deepcopy(self.graph), copy.deepcopy(self.skeleton)
        made = QuantizedModule(root, graph, skeleton, self.settings, self.example, self.stored)
        made.opaque = dict(self.opaque)
        made.train(self.training)
        return made
