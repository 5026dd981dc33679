"""What a stage is: parameters as a dataclass, and how it makes one network of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from edgesmith.registry import Registry

if TYPE_CHECKING:
    from edgesmith.chain.recipe import ModelSpec
    from edgesmith.chain.work import Work

__all__ = ["STAGES", "Outcome", "Stage", "in_floats", "stage"]

S = TypeVar("S", bound="type[Stage]")


@dataclass(frozen=True)
class Outcome:
    """What a stage gives.

    Args:
        module: the network; None where it gives ONNX alone.
        shape: data from which ``Stage.rebuilt`` makes a module of the same shapes, as JSON.
        onnx: a model that the stage wrote itself, such as a quantised one.
        epochs: passes over the training pictures that it took.
        notes: lines for the report.
    """

    module: Any = None
    shape: Mapping[str, Any] = field(default_factory=dict)
    onnx: Path | None = None
    epochs: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """Base of stages; fields are the keys of ``[[stage]]`` in a recipe.

    Class attributes: ``gives_onnx`` where no module goes on from it, ``compresses`` where the network loses something.

    Args:
        if_needed: left out where the budget's costs are met before it.
    """

    method: ClassVar[str]
    gives_onnx: ClassVar[bool] = False
    compresses: ClassVar[bool] = False

    if_needed: bool = field(default=False, kw_only=True)

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the outcome."""
        return asdict(self)

    @property
    def precision(self) -> str:
        """What the program computes in from here on; empty: as before."""
        return ""

    @property
    def needs_budget(self) -> bool:
        """Whether it cannot do without a limit of a cost."""
        return False

    @property
    def uses_budget(self) -> bool:
        """Whether the limits of the recipe's costs decide the outcome, too."""
        return self.needs_budget

    @property
    def uses_target(self) -> bool:
        """Whether the recipe's target and precision decide the outcome, too; where the budget does, they do."""
        return self.uses_budget

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """What is to be built beside the chain's network."""
        return ()

    def depends(self, path: Callable[[str], Path]) -> list[str]:
        """Digests of files that decide the outcome.

        Args:
            path: gives the file that a text of the recipe means.
        """
        return []

    @property
    def planned_epochs(self) -> int:
        return 0

    def planned(self, budget: str) -> str:
        """One line for ``--dry-run``.

        Args:
            budget: what the recipe's costs are limited to.
        """
        return f"{self.planned_epochs} epoch{'s' * (self.planned_epochs > 1)}" if self.planned_epochs else ""

    def check(self, index: int, before: tuple[Stage, ...], where: str) -> None:
        """Raise ``BadInput`` where it makes no sense after the stages ``before``."""

    def run(self, work: Work) -> Outcome:
        """Do it. What is interrupted goes on from ``work.folder``, which stays until the stage is finished."""
        raise NotImplementedError

    def preview(self, model: Path, work: Work) -> Path | None:
        """The model that this stage will roughly make of one in floats, beside it, for times; None: a stand-in will do.

        Args:
            model: ONNX.
        """
        return None

    @property
    def of_preview(self) -> dict[str, Any]:
        """Those of the parameters that decide ``preview``."""
        return {}

    def rebuilt(self, module: Any, shape: Mapping[str, Any], work: Work) -> Any:
        """A module of the stage's shapes, whatever its weights, from the one before.

        Args:
            module: may be changed.
        """
        return module


STAGES: Registry[type[Stage]] = Registry("stage", "edgesmith.chain.stages")


def stage(name: str) -> Callable[[S], S]:
    """Decorator that registers a stage under the name that recipes know."""

    def add(kind: S) -> S:
        kind.method = name
        STAGES.register(name)(kind)
        return kind

    return add


def in_floats(reasons: Mapping[str, str], others: int) -> tuple[str, ...]:
    """A line for the report about layers that were not quantised, where there are any.

    Args:
        reasons: why, by layer.
        others: how many were.
    """
    if not reasons:
        return ()
    name, why = next(iter(reasons.items()))
    return (f"{len(reasons)} of {len(reasons) + others} layers stay in floats, such as {name}: {why}",)
