"""Different rules for different layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from edgesmith.compress.lowrank.method import Decomposition, Ranks
from edgesmith.compress.lowrank.rules.rule import LayerRule
from edgesmith.errors import BadInput

__all__ = ["ByName"]


@dataclass(frozen=True)
class ByName(LayerRule):
    """For each layer the rule of the first shell pattern that its name matches; without one it is left alone.

    Raises:
        BadInput: one of the rules does not choose for one layer at a time.
    """

    rules: Mapping[str, LayerRule]

    def __post_init__(self) -> None:
        for pattern, rule in self.rules.items():
            if not isinstance(rule, LayerRule):
                raise BadInput(
                    f"{rule!r} is no rule for one layer", where=f"ByName: {pattern!r}", hint="such as Fixed(8)"
                )

    def patterns(self) -> Sequence[str]:
        return [*self.rules, *(inner for rule in self.rules.values() for inner in rule.patterns())]

    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        for pattern, rule in self.rules.items():
            if fnmatchcase(name, pattern):
                return rule.ranks(name, decomposition)
        return "no rule names it"
