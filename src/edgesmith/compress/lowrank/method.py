"""What a low-rank method is: a decomposition of one layer's weights, and the plain layers that its factors become."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from edgesmith.compress.lowrank.moments import LayerMoments
from edgesmith.compress.lowrank.spectrum import Spectrum
from edgesmith.errors import BadInput
from edgesmith.registry import Registry

__all__ = ["METHODS", "Decomposition", "Factors", "Layer", "Method", "Ranks", "method_named"]

Layer: TypeAlias = nn.Linear | nn.Conv2d
Ranks: TypeAlias = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Factors:
    """Weights for the layers of ``Method.structure``.

    Attributes:
        weights: one tensor a layer, in float64, of that layer's shape.
        bias: the last layer's, where the replaced layer has one.
        error: norm of what is lost over the norm of the whole: of the weights, or, where the decomposition knows the
            layer's outputs, of these (of their deviations from the mean, where the layer has a bias).
    """

    weights: Sequence[Tensor]
    bias: Tensor | None
    error: float


class Decomposition(ABC):
    """One layer's weights, ready to be cut at any ranks.

    Attributes:
        limits: ranks beyond which nothing can be gained.
        full: the ranks of which ``Ratio`` takes a share.
        multiple: every rank is a multiple of this.
    """

    limits: Ranks
    multiple: int = 1

    @property
    def full(self) -> Ranks:
        return self.limits

    @property
    @abstractmethod
    def spectra(self) -> Sequence[Spectrum]:
        """Singular values of the matrices that bound the ranks, of the weights alone."""

    @abstractmethod
    def keeping(self, energy: float) -> Ranks | None:
        """Ranks that keep this share of the squared norm; None where none do.

        Args:
            energy: from 0 to 1.
        """

    @abstractmethod
    def factors(self, ranks: Ranks) -> Factors:
        """The best factors found at these ranks."""

    def recovered(self, ranks: Ranks) -> Ranks:
        """Ranks of the factors for given ranks of ``spectra``."""
        return ranks

    def fitted(self, ranks: Sequence[int], multiple: int = 1) -> Ranks:
        """Ranks rounded to the nearest multiple, from one multiple to the limit.

        Raises:
            BadInput: there are more or fewer ranks than this decomposition has.
        """
        if len(ranks) != len(self.limits):
            raise BadInput(
                f"{len(ranks)} ranks {tuple(ranks)}, and the method has {len(self.limits)}",
                where="rank",
                hint=f"the full ranks of this layer are {self.full}",
            )
        step = multiple if multiple % self.multiple == 0 else multiple * self.multiple
        rounded = (max(step, step * round(rank / step)) for rank in ranks)
        return tuple(min(rank, limit) for rank, limit in zip(rounded, self.limits, strict=True))


class Method(ABC):
    """A way to replace a layer by a chain of smaller ones. Subclasses are frozen dataclasses; fields are options."""

    name: str

    @abstractmethod
    def refuses(self, layer: Layer) -> str | None:
        """Why this method cannot replace the layer, or None."""

    @abstractmethod
    def structure(self, layer: Layer, ranks: Ranks, device: Any = None) -> nn.Sequential:
        """The layers that replace ``layer``, of its data type, initialised as new layers are."""

    @abstractmethod
    def decompose(self, layer: Layer, moments: LayerMoments | None = None) -> Decomposition:
        """The layer's weights, ready to be cut.

        Args:
            moments: of the layer on calibration data; errors and energies are then those of its outputs, or come near.
        """

    def minimises_output_error(self) -> bool:
        """Whether factors from moments are the best ones for the outputs; otherwise the last factor is refitted."""
        return False

    def options(self) -> dict[str, Any]:
        """Fields, as JSON has them."""
        return dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}


METHODS: Registry[type[Method]] = Registry("low-rank method", "edgesmith.compress.lowrank.methods")


def method_named(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """A registered method.

    Raises:
        BadInput: there is no such method, or it has no such options.
    """
    if name not in METHODS:
        raise BadInput(f"there is no low-rank method {name!r}", where="method", hint=f"one of {', '.join(METHODS)}")
    try:
        return METHODS[name](**(options or {}))
    except TypeError as error:
        raise BadInput(f"options {dict(options or {})} do not fit: {error}", where=f"method {name!r}") from error
