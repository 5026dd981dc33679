"""Sparse weights in anybody's training loop."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgesmith.compress.layer_names import not_chosen, refuse_unused
from edgesmith.compress.sparsify.masks import FixedMask, StraightThroughMask
from edgesmith.compress.sparsify.pattern import PATTERNS, Pattern, largest
from edgesmith.compress.sparsify.schedule import Cubic
from edgesmith.errors import BadInput

__all__ = ["Sparsifier"]

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Sparsifier:
    """Keeps weights of a module sparse while it trains; without calling ``step`` the first masks stay.

    ::

        sparsifier = Sparsifier(model, "blocks", density=0.2, schedule=Cubic(0, 5000))
        for x, y in batches:
            ...
            optimizer.step()
            sparsifier.step()
        sparsifier.finish()

    The module's ``state_dict`` holds weights and masks until ``finish``: to resume, attach a sparsifier of the same
    arguments to the module, then load both state dicts. An optimiser may be made before or after.

    Args:
        module: changed in place, by parametrisations of its layers' weights.
        pattern: a name of ``PATTERNS`` or a pattern, such as ``NM(2, 4)`` or ``Blocks((16, 1))``.
        density: share of units that are kept in the end; not for N of M, which says it itself.
        schedule: on the way there; at once by default.
        across_layers: the share is of all layers together, by the magnitude of their weights, and not of each; a layer
            keeps one unit at least.
        straight_through: weights that are cut go on to be trained, and shrink with this factor besides (2e-4 in
            arXiv:2102.04010); masks follow the weights at every evaluation.
        include: shell patterns of layers' names, or one; the others are left alone.
        exclude: shell patterns of layers that are left alone, or one.

    Attributes:
        layers: names of the layers with sparse weights.
        untouched: (name, reason) of the other layers.
        steps: calls of ``step``.

    Raises:
        BadInput: an argument makes no sense, a pattern fits no layer, or no layer can be made sparse.
    """

    def __init__(
        self,
        module: nn.Module,
        pattern: str | Pattern = "unstructured",
        *,
        density: float | None = None,
        schedule: Cubic | None = None,
        across_layers: bool = False,
        straight_through: float | None = None,
        include: str | Sequence[str] = ("*",),
        exclude: str | Sequence[str] = (),
    ) -> None:
        self.pattern = _pattern(pattern)
        self._final = self.pattern.final_density(density)
        self._schedule, self._across, self.steps = schedule, across_layers, 0
        if across_layers and (straight_through is not None or not self.pattern.may_be_global):
            raise BadInput("these masks are chosen layer by layer", where="Sparsifier", hint="leave across_layers out")
        self._layers, self.untouched = _layers(module, self.pattern, include, exclude)
        if not self._layers:
            raise BadInput("no layer can be made sparse", where="Sparsifier", hint=f"reasons: {self.untouched}")
        for layer in self._layers.values():
            mask = (
                FixedMask(layer.weight)
                if straight_through is None
                else StraightThroughMask(self.pattern, self._now, straight_through)
            )
            parametrize.register_parametrization(layer, "weight", mask)
        self._choose()

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._layers)

    @property
    def densities(self) -> dict[str, float]:
        """Share of elements that are not cut, by layer."""
        return {name: float((layer.weight != 0).double().mean()) for name, layer in self._layers.items()}

    @property
    def density(self) -> float:
        """The same of all layers together."""
        weights = [layer.weight for layer in self._layers.values()]
        return sum(int(w.count_nonzero()) for w in weights) / sum(int(w.numel()) for w in weights)

    def step(self) -> None:
        """Tell that the optimiser has made a step."""
        self.steps += 1
        if self._schedule is not None and self._schedule.changes(self.steps):
            self._choose()

    def finish(self) -> None:
        """Take the masks off; the weights are plain parameters again, with zeros.

        Raises:
            BadInput: the schedule has not come to its end, or the masks are off already.
        """
        if self._schedule is not None and self.steps < self._schedule.end:
            raise BadInput(
                f"after {self.steps} steps the density is not the final one",
                where="Sparsifier.finish",
                hint=f"train until step {self._schedule.end}, or give an earlier end",
            )
        if not all(parametrize.is_parametrized(layer, "weight") for layer in self._layers.values()):
            raise BadInput("the masks are off already", where="Sparsifier.finish", hint="call it once")
        for layer in self._layers.values():
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)

    def state_dict(self) -> dict[str, Any]:
        """What the module's ``state_dict`` does not hold."""
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; the module's ``state_dict`` is loaded by itself."""
        self.steps = int(state["steps"])

    @property
    def _now(self) -> float:
        return self._final if self._schedule is None else self._schedule.density(self.steps, self._final)

    @torch.no_grad()
    def _choose(self) -> None:
        masks = {name: _mask(layer) for name, layer in self._layers.items()}
        weights = {name: layer.parametrizations.weight.original for name, layer in self._layers.items()}
        scores = {name: self.pattern.scores(weight) for name, weight in weights.items()}
        units = self._across_layers(scores) if self._across else {}
        for name, mask in masks.items():
            if isinstance(mask, StraightThroughMask):
                mask.density = self._now
            else:
                chosen = units[name] if self._across else self.pattern.chosen(scores[name], self._now)
                mask.mask.copy_(self.pattern.spread(chosen, weights[name].shape))

    def _across_layers(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        every = torch.cat([each.flatten() for each in scores.values()])
        starts = itertools.accumulate((each.numel() for each in scores.values()), initial=0)
        for start, each in zip(starts, scores.values(), strict=False):
            every[start + int(each.argmax())] = torch.inf  # so that a layer keeps one unit at least
        kept = largest(every, max(len(scores), round(self._now * every.numel())))
        parts = torch.split(kept, [each.numel() for each in scores.values()])
        return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def _pattern(pattern: str | Pattern) -> Pattern:
    if isinstance(pattern, Pattern):
        return pattern
    if pattern not in PATTERNS:
        raise BadInput(f"there is no pattern {pattern!r}", where="Sparsifier", hint=f"one of {', '.join(PATTERNS)}")
    return PATTERNS[pattern]()


def _mask(layer: nn.Module) -> FixedMask | StraightThroughMask:
    mask = layer.parametrizations.weight[0]  # type: ignore[union-attr,index]
    assert isinstance(mask, FixedMask | StraightThroughMask)
    return mask


def _layers(
    module: nn.Module, pattern: Pattern, include: str | Sequence[str], exclude: str | Sequence[str]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Layers that can be made sparse, and (name, reason) of the others."""
    names = [name for name, layer in module.named_modules() if isinstance(layer, LAYERS)]
    refuse_unused(include, names, "include")
    refuse_unused(exclude, names, "exclude")
    owners = Counter(id(p) for part in module.modules() for p in part.parameters(recurse=False))
    found: dict[str, Any] = {}
    left: list[tuple[str, str]] = []
    for name, layer in module.named_modules():
        if not isinstance(layer, LAYERS):
            continue
        reason = (
            not_chosen(name, include, exclude) or _unsupported(layer, owners) or pattern.refuses(layer.weight.shape)
        )
        if reason:
            left.append((name, reason))
        else:
            found[name] = layer
    return found, left


def _unsupported(layer: Any, owners: Counter[int]) -> str | None:
    if "weight" not in dict(layer.named_parameters(recurse=False)):
        return "its weight is computed from other parameters"
    if owners[id(layer.weight)] > 1:
        return "it shares its weight with another layer"
    if not isinstance(layer, nn.Linear) and layer.groups == layer.in_channels > 1:
        return "depthwise convolution"
    return None
