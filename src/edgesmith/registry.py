"""Registration by decorator: a family's modules are loaded from its folder, and no two members share a name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

__all__ = ["Registry"]


class Registry(Mapping[str, T], Generic[T]):
    """Named members of one family, in registration order.

    Args:
        kind: what a member is called in messages, such as ``"operator"``.
        package: dotted name of the folder whose modules register the members; loaded at first use.
        skipped: beginnings of the names of modules there that register nothing and need optional libraries.
    """

    def __init__(self, kind: str, package: str, *, skipped: tuple[str, ...] = ()) -> None:
        self._kind, self._package = kind, package
        self._skipped = tuple(f"{package}.{name}" for name in skipped)
        self._members: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds a member under ``name``; raises ``ValueError`` when the name is taken."""

        def add(member: T) -> T:
            if name in self._members:
                raise ValueError(f"{self._kind} {name!r} is registered twice")
            self._members[name] = member
            return member

        return add

    def _load(self) -> dict[str, T]:
        if not self._loaded:
            self._loaded = True
            package = importlib.import_module(self._package)
            for info in pkgutil.walk_packages(package.__path__, prefix=f"{self._package}."):
                if not info.name.startswith(self._skipped):
                    importlib.import_module(info.name)
        return self._members

    def __getitem__(self, name: str) -> T:
        return self._load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())
