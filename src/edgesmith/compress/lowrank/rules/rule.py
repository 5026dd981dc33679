"""What a rule for ranks is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgesmith.compress.lowrank.method import Decomposition, Ranks
from edgesmith.compress.lowrank.network import Network

__all__ = ["Choice", "LayerRule", "RankRule"]


@dataclass
class Choice:
    """Ranks of layers by name, and why the others are left alone."""

    ranks: dict[str, Ranks] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class RankRule(ABC):
    """Chooses ranks for a network."""

    @abstractmethod
    def choose(self, network: Network) -> Choice:
        """For every candidate ranks, with which it needs fewer multiply-adds, or a reason."""

    def patterns(self) -> Sequence[str]:
        """Shell patterns of the layers that the rule names, each of which must fit one."""
        return ()


class LayerRule(RankRule):
    """A rule that looks at one layer at a time."""

    @abstractmethod
    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        """For one layer, or why it has none."""

    def choose(self, network: Network) -> Choice:
        choice = Choice()
        for name in network.candidates:
            ranks = self.ranks(name, network.decomposition(name))
            if isinstance(ranks, str):
                choice.refused[name] = ranks
            elif network.smaller(name, ranks):
                choice.ranks[name] = ranks
            else:
                choice.refused[name] = (
                    f"ranks {ranks} need {network.macs(name, ranks)} multiply-adds, the layer {network.macs(name)}"
                )
        return choice
