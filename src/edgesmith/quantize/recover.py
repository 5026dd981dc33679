"""The methods of accuracy recovery one after the other, and the layers that an accuracy budget keeps in floats."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from edgesmith.ir import Graph
from edgesmith.quantize.mixed_precision import Choice, OutputError, choose_floats, judge_for, sensitivity
from edgesmith.quantize.recovery import RECOVERIES, Draft, Evidence, Recovery
from edgesmith.quantize.recovery.bias_correction import BiasCorrection
from edgesmith.quantize.recovery.reconstruction import products_in_order
from edgesmith.quantize.samples import Samples
from edgesmith.quantize.settings import Settings, unknown

__all__ = ["Recoveries"]

Progress = Callable[[str, int, int], None]
RANKED = 16
"""Runs by which layers are ranked."""
JUDGED = 256
"""Most runs by which a loss is measured where there are no labels."""


class Recoveries:
    """The methods that settings name, with the data that they may look at.

    With synthetic data there are none: what they would fit (means of channels, largest activations) is not that of real
    inputs, and a network that fits it is worse on those (docs/quantisation.md has figures).

    Args:
        state: beside this file, methods keep what they have done so far; None: nowhere.
        progress: told (method, pieces done, pieces in all).

    Raises:
        BadInput: there is no such method.
    """

    def __init__(self, settings: Settings, samples: Samples, state: Path | None, progress: Progress) -> None:
        self._methods: list[Recovery] = []
        for name in settings.recovery:
            if name not in RECOVERIES:
                raise unknown("recovery method", name, RECOVERIES, "quantisation: recovery")
            if samples.real:
                self._methods.append(RECOVERIES[name]())
        self._settings, self._samples, self._state, self._progress = settings, samples, state, progress
        self._runs = samples.count or sum(1 for _ in samples)

    def prepared(self, graph: Graph) -> Graph:
        """The float graph as the methods want it before calibration."""
        for method in self._methods:
            graph = method.prepare(graph, self._settings, self._evidence(method.name))
        return graph

    def improved(self, draft: Draft) -> Draft:
        """The draft after all methods."""
        for method in self._methods:
            draft = method.improve(draft, self._evidence(method.name))
        return draft

    def within_budget(self, draft: Draft, improved: Draft) -> tuple[Draft, Choice | None]:
        """``improved`` with the layers in floats that the settings' greatest drop of accuracy asks for.

        Layers are ranked without what the methods did: a corrected bias undoes the errors of other layers too. Where
        biases were corrected, they are for each set of layers that is tried. At the end all methods run once more, on
        what is left of ``draft``; the better result counts.
        """
        budget, labels = self._settings.max_accuracy_drop, self._settings.labels
        if budget is None:
            return improved, None
        names, plain = products_in_order(improved), draft.with_wide(improved.parameters)

        def with_floats(floats: Collection[str]) -> Draft:
            mixed = improved.with_floats(floats)
            return self._refitted(mixed) if floats and improved.graph is not draft.graph else mixed

        def ranked() -> list[str]:
            evidence = self._evidence("rank")
            by_error = OutputError(draft.exact, list(islice(evidence, RANKED)))
            errors = sensitivity(
                lambda f: plain.with_floats(f).quantized(), names, by_error, progress=evidence.progress
            )
            return sorted(names, key=errors.__getitem__)

        judged = self._evidence("judge", JUDGED) if labels is None else self._samples
        judge = judge_for(improved.exact, judged, None if labels is None else np.array(labels))
        choice = choose_floats(lambda f: with_floats(f).quantized(), ranked, judge, budget)
        if not choice.floats:
            return improved, choice
        result = with_floats(choice.floats)
        if result.parameters.weights:
            again = self.improved(draft.with_floats(choice.floats))
            if (loss := judge.loss(again.quantized())) <= choice.loss:
                return again, replace(choice, loss=loss, met=loss <= budget)
        return result, choice

    def _refitted(self, draft: Draft) -> Draft:
        """The draft with biases that undo the errors of what is quantised in it, and of nothing else."""
        return BiasCorrection().improve(draft, self._evidence("refit"))

    def _evidence(self, stage: str, most: int | None = None) -> Evidence:
        state = self._state and self._state.with_name(f"{self._state.name}.{stage}")
        found = Evidence(self._samples, self._runs, state, lambda done, total: self._progress(stage, done, total))
        return found if most is None else replace(found, most=most)
