"""The channels of the network that a stage prunes."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from edgesmith.compress.prune import IMPORTANCE, Limits, Pruned, analyse, cuts, prune, recalibrate, stepwise
from edgesmith.compress.prune.scoring import Scoring, cross_entropy
from edgesmith.compress.search import Group, layer_features
from edgesmith.compress.search.problem import Shape
from edgesmith.errors import BadInput

__all__ = ["NetworkChannels"]

CUTS = 12
"""Between the whole network and the smallest one."""


@dataclass
class NetworkChannels:
    """The channels of a module: analysed and scored once.

    Args:
        example: one input.
        data: batches (inputs, labels) by which importance is measured.
        multiple: channels are left in multiples of this.
        most: no group loses a larger share.
        ignore: regular expressions of layers whose channels all stay.
        importance: of channels: a name of ``IMPORTANCE``.
    """

    module: Any
    example: Any
    data: Sequence[tuple[Any, Any]]
    multiple: int
    most: float
    ignore: tuple[str, ...]
    importance: str
    seed: int
    _stepped: dict[tuple[tuple[str, float], ...], Pruned] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was found of the module's structure, whose graph does not leave its process."""
        return {k: v for k, v in vars(self).items() if k != "_structure"} | {"_stepped": {}}

    @cached_property
    def _structure(self) -> Any:
        return analyse(self.module, self.example)

    @cached_property
    def _scores(self) -> Any:
        scoring = Scoring(self._structure, self.data, cross_entropy, self.seed)
        return IMPORTANCE[self.importance](scoring)

    @cached_property
    def _limits(self) -> Limits:
        return Limits(self.multiple, self.most, self.ignore)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        self._limits.check(self._structure)
        found = [g for g in self._structure.groups if not self._limits.ignores(g)]
        if not found:
            reasons = "; ".join(f"{layer}: {why}" for layer, why in self._structure.untouched[:3])
            raise BadInput(f"no channels can be pruned ({reasons})", where="prune")
        steps = [min(self.multiple // math.gcd(self.multiple, g.width), g.size) for g in found]
        features = layer_features(self.module, self.example)
        about = [features.get(g.layers[0] if g.layers else "", ()) for g in found]
        return tuple(Group(g.name, g.size, step, step, what) for g, step, what in zip(found, steps, about, strict=True))

    def pruned(self, module: Any, ratios: Mapping[str, float]) -> Pruned:
        """A smaller module; ratios are exact, because the groups know the steps."""
        ratios = {name: ratio for name, ratio in ratios.items() if ratio > 0}
        own: dict[str, Any] = {"importance": self.importance}
        if module is self.module:
            scores = self._scores
            own = {"importance": lambda _: scores, "structure": self._structure}
        data = self.data
        return prune(module, self.example, ratios=ratios, data=data, max_ratio=0.999, **own)

    def prune(self, module: Any, ratios: Mapping[str, float]) -> Any:
        return self.pruned(module, ratios).module

    def stepped(self, ratios: Mapping[str, float]) -> Pruned:
        """The stage's module with so much gone, cut by cut; computed once."""
        wanted = tuple(sorted((name, ratio) for name, ratio in ratios.items() if ratio > 0))
        if not wanted:
            return self.pruned(self.module, {})
        if wanted not in self._stepped:
            module, example = self.module, self.example
            self._stepped[wanted] = stepwise(module, example, ratios=dict(wanted), **self._options)
        return self._stepped[wanted]

    def in_steps(self, ratios: Mapping[str, float]) -> Any:
        return self.stepped(ratios).module

    def recalibrated(self, module: Any) -> Any:
        module = copy.deepcopy(module)
        recalibrate(module, self.data)
        return module

    def globally(self, place: float) -> Shape:
        """Numbers of units on the way of cuts by one threshold of importance; 0: all, 1: as few as may be."""
        whole, smallest = tuple(g.channels for g in self.groups), tuple(g.kept(self.most) for g in self.groups)
        if place >= 1:
            return smallest
        shapes = [whole, *self._way, smallest]
        before, part = divmod(place * (len(shapes) - 1), 1)
        pairs = zip(self.groups, shapes[int(before)], shapes[int(before) + 1], strict=True)
        return tuple(g.kept(1 - (a + (b - a) * part) / g.channels) for g, a, b in pairs)

    @cached_property
    def _way(self) -> list[Shape]:
        """Numbers of units after each cut; scores are measured anew after every one of them."""
        limits: dict[str, Any] = {"max_ratio": self.most, "ignore": self.ignore}
        least = self._floor + (1 - self._floor) / CUTS
        done = cuts(self.module, self.example, macs=least, steps=CUTS, **limits, **self._options)
        return [tuple(len(cut.groups.get(g.name, range(g.channels))) for g in self.groups) for cut in done]

    @cached_property
    def _floor(self) -> float:
        """Share of the multiply-adds that is left when everything goes that may."""
        pruned = self.pruned(self.module, {g.name: g.ratio(g.kept(self.most)) for g in self.groups})
        return pruned.after.macs / pruned.before.macs

    @property
    def _options(self) -> dict[str, Any]:
        data, seed = self.data, self.seed
        return {"data": data, "importance": self.importance, "seed": seed}
