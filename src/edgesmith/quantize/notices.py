"""Named warnings: what is doubtful about a quantised model, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Notice"]


@dataclass(frozen=True)
class Notice:
    """One warning.

    Args:
        name: its kind, such as ``constant-value``.
        where: the value or node.
        why: what was found, in one sentence.
        hint: what to do, where something can be done.
    """

    name: str
    where: str
    why: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.name}: {self.where}: {self.why}" if self.where else f"{self.name}: {self.why}"
        return f"{text} ({self.hint})" if self.hint else text
