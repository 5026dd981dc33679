"""Gradual pruning: a little, fine-tune, a little more, on a cubic schedule (Zhu and Gupta 2017, arXiv:1710.01878)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from edgesmith.compress import counting
from edgesmith.compress.prune.pruning import prune
from edgesmith.compress.prune.shape import PrunedShape, apply_shape
from edgesmith.compress.roles import Finetune
from edgesmith.errors import BadInput

__all__ = ["GradualState", "cubic", "gradual"]


def cubic(step: int, steps: int, final: float, initial: float = 0.0) -> float:
    """The part that is gone after ``step`` of ``steps``: fast at first, slower towards ``final``."""
    return final + (initial - final) * (1 - step / steps) ** 3


@dataclass(frozen=True)
class GradualState:
    """How far gradual pruning has come; with the module's ``state_dict`` it is all that going on takes.

    Attributes:
        step: steps that are done, fine-tuning included.
        macs: multiply-adds of the original module.
        shape: what is gone in all, relative to the original module.
    """

    step: int
    macs: int
    shape: PrunedShape

    def to_json(self) -> str:
        """Text that ``from_json`` reads."""
        return json.dumps({"step": self.step, "macs": self.macs, "shape": self.shape.to_json()})

    @classmethod
    def from_json(cls, text: str) -> GradualState:
        """What ``to_json`` wrote."""
        data = json.loads(text)
        return cls(int(data["step"]), int(data["macs"]), PrunedShape.from_json(data["shape"]))

    def restore(self, original: nn.Module, example: Any = None) -> nn.Module:
        """A module with the architecture of this state, ready for ``load_state_dict``; see ``apply_shape``."""
        return apply_shape(original, self.shape, example)


def gradual(
    module: nn.Module,
    example: Any,
    finetune: Finetune,
    *,
    macs: float,
    steps: int = 5,
    state: GradualState | None = None,
    on_step: Callable[[GradualState, nn.Module], None] | None = None,
    **options: Any,
) -> tuple[nn.Module, GradualState]:
    """Prune in steps to a final target, with fine-tuning after each.

    Args:
        finetune: trains a module in place; called after every step.
        macs: fraction of multiply-adds that may be left in the end.
        state: to go on from; ``module`` is then ``state.restore(original)`` with the weights of that time.
        on_step: gets the state and the module after every step, to be saved.
        options: for ``prune``: importance, data, round_to, ...

    Returns:
        The pruned, fine-tuned module, and the state, whose ``shape`` describes it relative to the original.
    """
    if not 0 < macs <= 1 or steps < 1:
        raise BadInput(f"macs {macs}, {steps} steps", where="gradual", hint="macs in (0, 1], 1 or more steps")
    state = state or GradualState(0, counting.macs(module, example), PrunedShape())
    for step in range(state.step + 1, steps + 1):
        allowed = (1 - cubic(step, steps, 1 - macs)) * state.macs
        result = prune(module, example, macs=min(1.0, allowed / counting.macs(module, example)), **options)
        module = result.module
        finetune(module)
        state = GradualState(step, state.macs, state.shape.then(result.shape))
        if on_step is not None:
            on_step(state, module)
    return module, state
