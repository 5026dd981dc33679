"""Gradual pruning: a little, fine-tune, a little more, on a cubic schedule (Zhu and Gupta 2017, arXiv:1710.01878)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from edgesmith.compress import counting
from edgesmith.compress.prune.pruning import prune
from edgesmith.compress.prune.selection import Limits, check_budget
from edgesmith.compress.prune.shape import PrunedShape, apply_shape
from edgesmith.compress.prune.structure import analyse
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
        sizes: units of the original module's groups, by name.
    """

    step: int
    macs: int
    shape: PrunedShape
    sizes: Mapping[str, int]

    def to_json(self) -> str:
        """Text that ``from_json`` reads."""
        own = {"step": self.step, "macs": self.macs, "shape": self.shape.to_json(), "sizes": dict(self.sizes)}
        return json.dumps(own)

    @classmethod
    def from_json(cls, text: str) -> GradualState:
        """What ``to_json`` wrote.

        Raises:
            BadInput: it is something else.
        """
        try:
            data = json.loads(text)
            sizes = {str(name): int(size) for name, size in data["sizes"].items()}
            return cls(int(data["step"]), int(data["macs"]), PrunedShape.from_json(data["shape"]), sizes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"no state of gradual pruning: {type(error).__name__}: {error}"
            raise BadInput(why, where="GradualState", hint="give what to_json wrote") from error

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
    max_ratio: float | Mapping[str, float] = 0.9,
    ignore: Sequence[str] = (),
    state: GradualState | None = None,
    on_step: Callable[[GradualState, nn.Module], None] | None = None,
    **options: Any,
) -> tuple[nn.Module, GradualState]:
    """Prune in steps to a final target, with fine-tuning after each.

    Args:
        finetune: trains a module in place; called after every step.
        macs: fraction of multiply-adds that may be left in the end.
        max_ratio: the largest part of any group that may go in all; or of each group by its name, nothing of others.
        ignore: as of ``prune``.
        state: to go on from; ``module`` is then ``state.restore(original)`` with the weights of that time.
        on_step: gets the state and the module after every step, to be saved.
        options: for ``prune``: importance, data, round_to, ...

    Returns:
        The pruned, fine-tuned module, and the state, whose ``shape`` describes it relative to the original.

    Raises:
        BadInput: ``macs`` or ``steps`` are none, an option is another target; and whatever ``prune`` raises.
    """
    for name in ("parameters", "ratios", "structure"):
        if name in options:
            raise BadInput(f"{name} is no option of gradual pruning", where="gradual", hint="its target is macs=")
    if not 0 < macs <= 1 or steps < 1:
        raise BadInput(f"macs {macs}, {steps} steps", where="gradual", hint="macs in (0, 1], 1 or more steps")
    attention = options.get("attention", "heads")
    structure = analyse(module, example, attention)
    limits = Limits(max_ratio=max_ratio, ignore=ignore)
    if state is None:
        check_budget(structure, replace(limits, round_to=options.get("round_to", 1)), macs=macs)
        sizes = {group.name: group.size for group in structure.groups}
        state = GradualState(0, counting.macs(module, example), PrunedShape(), sizes)
    for step in range(state.step + 1, steps + 1):
        allowed = (1 - cubic(step, steps, 1 - macs)) * state.macs
        own: dict[str, Any] = {"structure": structure, "max_ratio": limits.of_the_rest(structure, state.sizes)}
        result = prune(module, example, macs=min(1.0, allowed / counting.macs(module, example)), **own, **options)
        module = result.module
        finetune(module)
        structure = analyse(module, example, attention)
        state = GradualState(step, state.macs, state.shape.then(result.shape), state.sizes)
        if on_step is not None:
            on_step(state, module)
    return module, state
