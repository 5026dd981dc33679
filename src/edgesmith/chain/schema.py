"""Tables of TOML as dataclasses: unknown keys and wrong types are errors that say where."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from edgesmith.errors import BadInput

__all__ = ["Source", "checked", "unknown"]

T = TypeVar("T")

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list"}


class Source:
    """A TOML text, of which messages name lines.

    Args:
        name: of the file.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._lines = text.splitlines()

    def where(self, table: str, key: str = "", number: int = 0) -> str:
        """The line of a key, or of its table's header.

        Args:
            table: such as ``model`` or, with its number from 0, ``stage``.
        """
        header = re.compile(rf"^\s*\[+\s*{re.escape(table)}\s*\]+")
        seen, line = -1, 0
        inside = not table
        for i, text in enumerate(self._lines, 1):
            if re.match(r"^\s*\[", text):
                seen += bool(header.match(text))
                inside = bool(header.match(text)) and seen == number
                line = i if inside else line
            if inside and key and re.match(rf"""^\s*["']?{re.escape(key)}["']?\s*[.=]""", text):
                return f"{self.name}, line {i}"
        return f"{self.name}, line {line}" if line else self.name


def checked(kind: type[T], values: Mapping[str, Any], source: Source, table: str, number: int = 0) -> T:
    """A table as an instance of a dataclass whose fields are its keys; lists become tuples.

    Raises:
        BadInput: it is no table, a key is unknown or missing, a value is of another type, or the dataclass itself
            refuses.
    """
    if not isinstance(values, Mapping):
        why = f"must be one table, [{table}]"
        raise BadInput(why, where=source.where(table) if isinstance(values, list) else source.where("", table))
    hints = typing.get_type_hints(kind)
    known = [f for f in fields(kind) if f.init]  # type: ignore[arg-type]
    names = [f.name for f in known]
    for key in values:
        if key not in names:
            raise unknown(key, names, source.where(table, key, number), f"key of [{table}]" if table else "table")
    found = {}
    for field in known:
        if field.name in values:
            place = source.where(table, field.name, number)
            found[field.name] = _converted(values[field.name], hints[field.name], place, field.name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise BadInput(f"[{table}] needs {field.name!r}", where=source.where(table, "", number))
    try:
        return kind(**found)
    except BadInput as error:
        at = source.where(table, error.where.rpartition(": ")[2], number)
        raise BadInput(f"{error.where}: {error.why}", where=at, hint=error.hint) from None


def unknown(name: str, known: typing.Iterable[str], where: str, what: str) -> BadInput:
    """The error about a name that is none of those that are known, with the nearest."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
    return BadInput(f"{name!r} is no {what}", where=where, hint=hint)


def _converted(value: Any, hint: Any, where: str, key: str) -> Any:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        if option is type(None):
            continue
        plain = typing.get_origin(option) or option
        if plain is tuple and isinstance(value, list):
            (inner, *_) = typing.get_args(option) or (Any,)
            return tuple(v if inner is Any else _converted(v, inner, where, f"an element of {key}") for v in value)
        if plain in (dict, Mapping) or (isinstance(plain, type) and issubclass(plain, Mapping)):
            if isinstance(value, dict):
                return dict(value)
        elif plain is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value) if isinstance(value, float) or int not in options else value
        elif plain in (int, str, bool) and type(value) is plain:
            return value
    wanted = " or ".join(_WORDS.get(typing.get_origin(o) or o, "a table") for o in options if o is not type(None))
    raise BadInput(f"{key} is {value!r}, not {wanted}", where=where)
