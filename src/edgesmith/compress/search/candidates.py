"""Candidates of a search: each is pruned, trained shortly and evaluated by itself, so that many can be at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from edgesmith.compress.roles import Evaluate, Finetune
from edgesmith.compress.search.problem import Prune, Ratios, quality
from edgesmith.errors import BadInput

__all__ = ["Answer", "Candidate", "Making", "Parallel", "answers"]


class Parallel(Protocol):
    """Calls a function with each item, several at a time: ``RayWorkers``, ``Pool.imap_unordered``, ``Executor.map``.

    Gives the results in any order, best as they arrive, because a search keeps what it was given. Workers are
    processes: the function is pickled, and with it what the problem's functions hold. Threads would share PyTorch's
    random numbers and disturb each other's tracing.
    """

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]: ...


@dataclass(frozen=True)
class Candidate:
    """A module to be made.

    Args:
        index: tells it from the others that are evaluated together.
        ratios: of the module that it is pruned from; groups that are not named keep their channels.
        seed: of its short training.
    """

    index: int
    ratios: Ratios
    seed: int


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of a candidate: its module as it was evaluated, on the device of the problem's module."""

    index: int
    score: float
    module: nn.Module


@dataclass(frozen=True, eq=False)
class Making:
    """What candidates are made and judged by: a problem without its cost, which may be measured and is asked alone."""

    module: nn.Module
    prune: Prune
    finetune: Finetune | None
    evaluate: Evaluate

    def trained(self, base: nn.Module | None, candidate: Candidate) -> nn.Module:
        """The candidate's module after its short training.

        Args:
            base: what it is pruned from; None: the problem's module.
        """
        if base is not None:
            module = self.prune(copy.deepcopy(base), candidate.ratios)
        else:
            module = self.prune(self.module, candidate.ratios)
            module = copy.deepcopy(module) if module is self.module else module
        if self.finetune:
            with torch.random.fork_rng():
                torch.manual_seed(candidate.seed)
                self.finetune(module)
        return module

    def answer(self, base: nn.Module | None, candidate: Candidate) -> Answer:
        """Train and evaluate; ``base`` as of ``trained``."""
        module = self.trained(base, candidate)
        score = quality(self.evaluate, module)
        weight = next(self.module.parameters(), None)
        return Answer(candidate.index, score, module if weight is None else module.to(weight.device))


def answers(
    making: Making, base: nn.Module | None, candidates: Sequence[Candidate], parallel: Parallel | None
) -> Generator[Answer, None, None]:
    """Of all candidates, as they arrive; without ``parallel`` one after another.

    What is still running when the generator is closed is ended, as far as ``parallel`` gives a generator that does so.

    Args:
        base: as of ``Making.trained``.

    Raises:
        BadInput: ``parallel`` gives something else than the results of what it was to call.
    """
    function = partial(_answered, making, base)  # workers may keep what is bound
    if parallel is None:
        yield from map(function, candidates)
        return
    missing = {candidate.index for candidate in candidates}
    with closing(_iterated(parallel, function, candidates)) as results:
        for answer in results:
            if not isinstance(answer, Answer) or answer.index not in missing:
                raise _misused(f"gave {answer!r}, which is no result of a candidate that it had")
            missing.remove(answer.index)
            yield answer
    if missing:
        raise _misused(f"gave no result for {len(missing)} of {len(candidates)} candidates")


def _iterated(
    parallel: Parallel, function: Callable[[Candidate], Answer], candidates: Sequence[Candidate]
) -> Generator[Any, None, None]:
    found = parallel(function, candidates)
    try:
        yield from found
    finally:
        close = getattr(found, "close", None)
        if close:
            close()


def _misused(why: str) -> BadInput:
    return BadInput(why, where="search parallel", hint="give a function like map: Pool.imap_unordered, RayWorkers, ...")


def _answered(making: Making, base: nn.Module | None, candidate: Candidate) -> Answer:
    return making.answer(base, candidate)
