"""Tucker decomposition of convolution weights along output and input channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgesmith.compress.lowrank.spectrum import Spectrum

__all__ = ["Tucker", "channel_spectra", "tucker"]

SWEEPS = 20
CONVERGED = 1e-6
"""Gain of a sweep, as a share of the squared norm."""


@dataclass(frozen=True)
class Tucker:
    """Weights as core x outputs x inputs.

    Attributes:
        outputs: (T, s).
        core: (s, r, height, width).
        inputs: (S, r).
    """

    outputs: Tensor
    core: Tensor
    inputs: Tensor

    def tensor(self) -> Tensor:
        """The weights that the factors stand for, (T, S, height, width)."""
        weights: Tensor = torch.einsum("to,oihw,si->tshw", self.outputs, self.core, self.inputs)
        return weights


def channel_spectra(weight: Tensor) -> tuple[Spectrum, Spectrum]:
    """Of the unfoldings along input and output channels of (T, S, height, width)."""
    return Spectrum.of(weight.transpose(0, 1).flatten(1)), Spectrum.of(weight.flatten(1))


def _leading(unfolded: Tensor, rank: int) -> Tensor:
    _, vectors = torch.linalg.eigh(unfolded @ unfolded.T)
    leading: Tensor = vectors.flip(1)[:, :rank]
    return leading


def tucker(weight: Tensor, inner: int, outer: int, sweeps: int = SWEEPS) -> Tucker:
    """Higher-order orthogonal iteration from the truncated higher-order singular value decomposition.

    De Lathauwer, De Moor, Vandewalle, "On the best rank-1 and rank-(R1, ..., RN) approximation", 2000.

    Args:
        weight: (T, S, height, width), in float64.
        inner: rank of the input channels.
        outer: rank of the output channels.
        sweeps: at most as many.
    """
    inputs = _leading(weight.transpose(0, 1).flatten(1), inner)
    whole, kept = float(weight.square().sum()), -1.0
    for _ in range(max(1, sweeps)):
        outputs = _leading(torch.einsum("tshw,si->tihw", weight, inputs).flatten(1), outer)
        narrow = torch.einsum("tshw,to->oshw", weight, outputs)
        inputs = _leading(narrow.transpose(0, 1).flatten(1), inner)
        core = torch.einsum("oshw,si->oihw", narrow, inputs)
        before, kept = kept, float(core.square().sum())
        if kept - before <= CONVERGED * whole:
            break
    return Tucker(outputs, core, inputs)
