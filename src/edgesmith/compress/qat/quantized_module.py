"""The module that training sees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import fx, nn

from edgesmith.compress.qat.graph_state import StoredGraph, restored, stored
from edgesmith.compress.qat.layer import QuantizedLayer
from edgesmith.compress.qat.settings import Settings
from edgesmith.errors import BadInput

__all__ = ["Quantization", "QuantizedModule", "check_prepared", "check_whole", "layers"]


@dataclass(frozen=True)
class Quantization:
    """What a prepared module is, apart from its layers.

    Args:
        settings: what it was prepared with, or changed to.
        example: inputs of the shapes that the program is compiled for.
        skeleton: the calls of layers, without quantisers.
        stored: of the traced nodes whose values are stored as integers, the path of the quantiser.
        floats: layers in floats, and parameters that code multiplies by itself, and why, by path; without those that
            the settings name.
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

    def __reduce__(self) -> tuple[Callable[..., Quantization], tuple[Any, ...]]:
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return _quantization, ({**own, "skeleton": stored(self.skeleton)},)


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
        return _module(copy.deepcopy(self._held, memo), copy.deepcopy(self.graph), self.quantization)

    def __reduce__(self) -> tuple[Callable[..., QuantizedModule], tuple[Any, ...]]:
        return _module, (self._held, stored(self.graph), self.quantization)

    @property
    def _held(self) -> dict[str, Any]:
        """What it has of any module."""
        return {k: self.__dict__[k] for k in nn.Module().__dict__}


def _quantization(own: dict[str, Any]) -> Quantization:
    return Quantization(**{**own, "skeleton": restored(own["skeleton"])})


def _module(held: dict[str, Any], graph: fx.Graph | StoredGraph, quantization: Quantization) -> QuantizedModule:
    root = nn.Module()
    root.__dict__.update(held)
    made = QuantizedModule(root, restored(graph) if isinstance(graph, StoredGraph) else graph, quantization)
    return made.train(root.training)


def check_prepared(module: nn.Module, where: str) -> None:
    """
    Raises:
        BadInput: nothing of the module is quantised.
    """
    if not any(isinstance(part, QuantizedModule | QuantizedLayer) for part in module.modules()):
        raise BadInput(
            f"{type(module).__name__} is not prepared", where=where, hint="prepare it: qat.prepare(module, ...)"
        )


def check_whole(module: nn.Module, where: str) -> None:
    """
    Raises:
        BadInput: the module is not what ``prepare`` gave.
    """
    if not isinstance(module, QuantizedModule):
        check_prepared(module, where)
        hint = "give the module that prepare gave, such as wrapper.module"
        raise BadInput(f"{type(module).__name__} holds a prepared module", where=where, hint=hint)


def layers(module: nn.Module) -> Iterator[tuple[str, QuantizedLayer]]:
    """The quantised layers of a module by path."""
    for path, part in module.named_modules():
        if isinstance(part, QuantizedLayer):
            yield path, part
