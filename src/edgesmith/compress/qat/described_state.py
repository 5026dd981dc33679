"""States that say what they are states of."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import nn

from edgesmith.errors import BadInput

__all__ = ["DescribedState"]


class DescribedState(nn.Module):
    """A module whose tensors mean something only together with what it is, such as scales with the integers that they
    are for; loading a state of something else is an error, also where the shapes fit."""

    @property
    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What a state must be of; numbers, strings, and lists of them."""

    def get_extra_state(self) -> dict[str, Any]:
        return self.described

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """There is nothing else to take."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """
        Raises:
            BadInput: the state is of something else; nothing of it is taken.
        """
        given = state_dict.get(f"{prefix}_extra_state")
        if given is not None:
            for key, own in self.described.items():
                if given.get(key) != own:
                    raise BadInput(
                        f"the state is of {key} {_told(given.get(key))}, the module has {key} {_told(own)}",
                        where=prefix.rstrip("."),
                        hint="prepare the module with the settings that the state comes from",
                    )
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _told(value: Any) -> str:
    return f"from {value[0]} to {value[1]}" if isinstance(value, list) else str(value)
