"""A network whose layers can be replaced by factors of any ranks."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgesmith.compress.counting import macs
from edgesmith.compress.lowrank.candidates import Candidate, candidates
from edgesmith.compress.lowrank.method import Decomposition, Factors, Layer, Method, Ranks
from edgesmith.compress.lowrank.moments import layer_moments
from edgesmith.compress.lowrank.placing import replaced
from edgesmith.compress.lowrank.refit import refit

__all__ = ["Network", "fill"]


def fill(chain: nn.Sequential, factors: Factors, layer: Layer) -> nn.Sequential:
    """The chain with the factors as weights; it trains, and is trained, where the replaced layer was."""
    parts = [part for part in chain if isinstance(part, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for part, weight in zip(parts, factors.weights, strict=True):
            part.weight.copy_(weight)
            part.weight.requires_grad_(layer.weight.requires_grad)
        if layer.bias is not None and parts[-1].bias is not None:
            parts[-1].bias.copy_(layer.bias if factors.bias is None else factors.bias)
            parts[-1].bias.requires_grad_(layer.bias.requires_grad)
    return chain.train(layer.training)


class Network:
    """A module and the layers in it that factors can replace.

    Args:
        module: stays as it is.
        example: one input, or a tuple of inputs.
        methods: each layer takes the first that accepts it.
        include: shell patterns of names; the others are left alone.
        exclude: shell patterns of names that are left alone.
        batches: calibration data, each one input or a tuple of inputs; iterated several times.
    """

    def __init__(
        self,
        module: nn.Module,
        example: Any,
        methods: Sequence[Method],
        include: str | Sequence[str],
        exclude: str | Sequence[str],
        batches: Iterable[Any] | None,
    ) -> None:
        self.module, self.example, self._batches = module, example, batches
        found, self.untouched = candidates(module, example, methods, include, exclude)
        self.candidates = {candidate.name: candidate for candidate in found}
        self._decompositions: dict[str, Decomposition] = {}
        self._chains: dict[tuple[str, Ranks], tuple[nn.Sequential, float]] = {}
        self._macs: dict[tuple[str, Ranks], int] = {}
        layers = {candidate.name: candidate.layer for candidate in found}
        self._moments = {} if batches is None or not found else layer_moments(module, layers, batches)

    def decomposition(self, name: str) -> Decomposition:
        """Of the candidate of this name."""
        if name not in self._decompositions:
            candidate = self.candidates[name]
            found = candidate.method.decompose(candidate.layer, self._moments.get(name))
            self._decompositions[name] = found
        return self._decompositions[name]

    def macs(self, name: str, ranks: Ranks = ()) -> int:
        """Multiply-adds of a candidate in one evaluation of the example: as it is, or with these ranks."""
        if (name, ranks) not in self._macs:
            candidate = self.candidates[name]
            layer: nn.Module = (
                candidate.method.structure(candidate.layer, ranks, "meta")
                if ranks
                else copy.deepcopy(candidate.layer).to("meta")
            )
            dtype = candidate.layer.weight.dtype
            inputs = [torch.empty(shape, device="meta", dtype=dtype) for shape in candidate.shapes]
            self._macs[name, ranks] = sum(macs(layer, each) for each in inputs)
        return self._macs[name, ranks]

    def smaller(self, name: str, ranks: Ranks) -> bool:
        """Whether factors of these ranks need fewer multiply-adds than the layer."""
        return self.macs(name, ranks) < self.macs(name)

    def built(self, choice: Mapping[str, Ranks]) -> nn.Module:
        """A copy of the module with factors of these ranks in the places of the named layers."""
        chains = self._filled(choice)
        result = copy.deepcopy(self.module)
        for name in choice:
            chain = copy.deepcopy(chains[name][0])
            for path in (name, *self.candidates[name].aliases):
                result = replaced(result, path, chain)
        return result

    def error(self, name: str, ranks: Ranks) -> float:
        """What factors of these ranks lose: ``Factors.error``, or what is left after they were fitted to the data."""
        return self._filled({name: ranks})[name][1]

    def _filled(self, choice: Mapping[str, Ranks]) -> dict[str, tuple[nn.Sequential, float]]:
        new = {name: ranks for name, ranks in choice.items() if (name, ranks) not in self._chains}
        variants: dict[tuple[str, bool], tuple[Layer, nn.Sequential]] = {}
        for name, ranks in new.items():
            candidate = self.candidates[name]
            self._chains[name, ranks] = self._chain(candidate, self.decomposition(name), ranks)
            if name in self._moments and not candidate.method.minimises_output_error():
                # Weights weighed by the data are better nearly always, and the data show whether they are.
                plain, _ = self._chain(candidate, candidate.method.decompose(candidate.layer), ranks)
                variants[name, True] = candidate.layer, self._chains[name, ranks][0]
                variants[name, False] = candidate.layer, plain
        if variants and self._batches is not None:
            errors = refit(self.module, variants, self._batches)
            for name in {name for name, _ in variants}:
                error, weighed = min((errors[name, weighed], weighed) for weighed in (False, True))
                self._chains[name, new[name]] = variants[name, weighed][1], error
        return {name: self._chains[name, ranks] for name, ranks in choice.items()}

    def _chain(self, candidate: Candidate, decomposition: Decomposition, ranks: Ranks) -> tuple[nn.Sequential, float]:
        factors = decomposition.factors(ranks)
        return fill(candidate.method.structure(candidate.layer, ranks), factors, candidate.layer), factors.error
