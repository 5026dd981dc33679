"""How much memory a program may take: what the user says, or else what the device has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgesmith.codegen import Package
from edgesmith.plan import Plan, Space
from edgesmith.plan.fit import require_flash, require_ram
from edgesmith.recipe import Recipe
from edgesmith.target import Target
from edgesmith.toolchain import Compiler
from edgesmith.toolchain.size import flash_bytes

__all__ = ["Limits"]

CONTEXT_ROOM = 4096
BARE_CONTEXT_ROOM = 128
"""Of a context, beside the memory that is planned."""


@dataclass(frozen=True)
class Limits:
    """Bytes of RAM and flash, each with whose limit it is; 0: none."""

    ram: int
    ram_owner: str
    flash: int
    flash_owner: str

    @classmethod
    def of(cls, recipe: Recipe, target: Target) -> Limits:
        device = target.device or str(target)
        return cls(
            recipe.max_ram_bytes or target.ram_bytes,
            "--max-ram" if recipe.max_ram_bytes else device,
            recipe.max_flash_bytes or target.flash_bytes,
            "--max-flash" if recipe.max_flash_bytes else device,
        )

    def planned_ram(self, target: Target) -> int:
        """What of the RAM is left for the memory that is planned; 0: no limit."""
        room = BARE_CONTEXT_ROOM if target.is_bare else CONTEXT_ROOM
        return max(self.ram - room, 1) if self.ram else 0

    def require(self, plan: Plan, package: Package, tried: tuple[str, ...]) -> None:
        """What is known before the code is compiled; raises ``DoesNotFit``."""
        if self.ram:
            require_ram(plan, ram_bytes(plan, package), self.ram, self.ram_owner, tried)
        if self.flash:
            require_flash(plan, package.weights.nbytes, None, self.flash, self.flash_owner)

    def measured(self, plan: Plan, package: Package, built: Mapping[str, Path], tool: Compiler) -> dict[str, int]:
        """The memory that the program takes, for the manifest; raises ``DoesNotFit``."""
        found = {"ram_bytes": ram_bytes(plan, package)}
        if plan.target.is_bare:
            found["flash_bytes"] = flash_bytes(built["static"], package.name, plan.target, tool)
        elif self.flash:
            found["flash_bytes"] = min(path.stat().st_size for path in built.values())
        if self.flash:
            weights = package.weights.nbytes
            require_flash(plan, weights, found["flash_bytes"] - weights, self.flash, self.flash_owner)
        return found


def ram_bytes(plan: Plan, package: Package) -> int:
    """A context with one worker, inputs and outputs."""
    outside = sum(b.nbytes for b in plan.buffers.values() if b.space in (Space.INPUT, Space.OUTPUT))
    return package.context_bytes + outside
