"""Learned clipping (Choi et al., PACT: Parameterized Clipping Activation, arXiv:1805.06085)."""

from __future__ import annotations

from torch import Tensor

from edgesmith.compress.qat.quantizers.base import ActivationQuantizer, activations
from edgesmith.compress.qat.quantizers.learned_scale import factor_like, learned_scale
from edgesmith.compress.qat.rounding import ScaleGradient
from edgesmith.quantize import QParams

__all__ = ["PactActivations"]


@activations("pact")
class PactActivations(ActivationQuantizer):
    """The largest number that is represented, alpha, is trained by the gradients of the elements beyond it.

    The paper has ReLU, whose integers begin at 0. Where they do not, the smallest number is as many times alpha as it
    was at the start, and trained along. The paper decays alpha like weights: add ``penalty`` to the loss.
    """

    gradient = ScaleGradient.CLIPPED

    def __init__(self, start: QParams) -> None:
        super().__init__(start)
        self.factor = factor_like(self.start)

    @property
    def scale(self) -> Tensor:
        return learned_scale(self.start, self.factor, 1 / self.bounds[1] ** 2)

    @property
    def alpha(self) -> Tensor:
        """The largest number that is represented; shape ``()``."""
        return self.scale * self.bounds[1]

    def penalty(self) -> Tensor:
        """alpha squared, to be added to the loss times half the decay (section 3 of the paper)."""
        return self.alpha.square()
