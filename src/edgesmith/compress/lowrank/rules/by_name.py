"""Different rules for different layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from edgesmith.compress.lowrank.method import Decomposition, Ranks
from edgesmith.compress.lowrank.rules.rule import LayerRule

__all__ = ["ByName"]


@dataclass(frozen=True)
class ByName(LayerRule):
    """For each layer the rule of the first shell pattern that its name matches; without one it is left alone."""

    rules: Mapping[str, LayerRule]

    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        for pattern, rule in self.rules.items():
            if fnmatchcase(name, pattern):
                return rule.ranks(name, decomposition)
        return "no rule names it"
