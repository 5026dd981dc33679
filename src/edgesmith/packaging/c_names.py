"""Names in the C text that Edgesmith writes, for putting several files into one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["file_scope_names", "renamed"]

_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|^[ \t]*#[ \t]*include[^\n]*|\b[A-Za-z_]\w*\b', re.MULTILINE)
_DEFINITIONS = (
    re.compile(r"^(?:ES_UNUSED )?static [^=;{}]*?\b(\w+)\(", re.MULTILINE),  # functions
    re.compile(r"^static [^=;{}()]*?\b(\w+)(?:\[[^\]]*\])* (?:__attribute__\S* )?[={]", re.MULTILINE),  # variables
    re.compile(r"^typedef [^;{}()]*?\b(\w+);", re.MULTILINE),
    re.compile(r"^typedef [^;{}()]*\(\*(\w+)\)", re.MULTILINE),  # pointers to functions
    re.compile(r"^} (\w+);", re.MULTILINE),  # structures
    re.compile(r"^#define ([A-Za-z]\w*)", re.MULTILINE),
)
_ENUM = re.compile(r"^enum \{([^}]*)\};", re.MULTILINE)


def file_scope_names(text: str) -> frozenset[str]:
    """What a file defines for itself: static functions and variables, types, macros, constants.

    Args:
        text: C whose definitions begin in the first column.
    """
    return frozenset(_names(text))


def _names(text: str) -> Iterator[str]:
    for pattern in _DEFINITIONS:
        yield from pattern.findall(text)
    for body in _ENUM.findall(text):
        yield from re.findall(r"(\w+)\s*(?:=[^,]*)?(?:,|$)", body.strip())


def renamed(text: str, names: Mapping[str, str]) -> str:
    """``text`` with identifiers replaced; strings and the names of included files stay."""
    return _TOKEN.sub(lambda m: names.get(m[0], m[0]), text)
