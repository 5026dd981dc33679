"""Ranks that bring the whole network to a number of multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.compress.counting import macs
from edgesmith.compress.lowrank.network import Network
from edgesmith.compress.lowrank.rules.energy import Energy
from edgesmith.compress.lowrank.rules.rounded import Rounded
from edgesmith.compress.lowrank.rules.rule import Choice, RankRule
from edgesmith.errors import BadInput, DoesNotFit

__all__ = ["MacsTarget"]


@dataclass(frozen=True)
class MacsTarget(RankRule):
    """The largest share of energy, one for all layers, with which the network needs at most so many multiply-adds.

    Args:
        macs: of one evaluation of the example; or
        share: of what the network needs as it is.
        round_to: ranks are multiples of this.
        steps: halvings of the interval of the energy.

    Raises:
        BadInput: not exactly one of ``macs`` and ``share`` is given, or the share is not above 0 and at most 1.
    """

    macs: int | None = None
    share: float | None = None
    round_to: int = 1
    steps: int = 12

    def __post_init__(self) -> None:
        if (self.macs is None) == (self.share is None):
            raise BadInput("give macs or share", where="MacsTarget", hint="such as MacsTarget(share=0.5)")
        if self.share is not None and not 0 < self.share <= 1:
            raise BadInput(f"share {self.share} is none", where="MacsTarget", hint="give one above 0 and at most 1")

    def choose(self, network: Network) -> Choice:
        """
        Raises:
            DoesNotFit: the layers that can be replaced do not suffice.
        """
        whole = macs(network.module, network.example)
        target = self.macs if self.macs is not None else int(whole * (self.share or 0.0))

        def at(energy: float) -> tuple[Choice, int]:
            choice = Rounded(Energy(energy), self.round_to).choose(network)
            saved = sum(network.macs(name) - network.macs(name, ranks) for name, ranks in choice.ranks.items())
            return choice, whole - saved

        low, high = 1e-6, 1.0
        best, reached = at(low)
        if reached > target:
            raise DoesNotFit(
                f"the least ranks need {reached} multiply-adds, more than {target}",
                where="MacsTarget",
                hint="give further methods, such as method=('tucker2', 'channel', 'svd'), or a larger target",
            )
        exact, needed = at(high)
        if needed <= target:
            return exact
        for _ in range(self.steps):
            middle = (low + high) / 2
            choice, needed = at(middle)
            if needed <= target:
                low, best = middle, choice
            else:
                high = middle
        return best
