"""Calls into the ONNX libraries whose exceptions become ModelError: their messages, without their tracebacks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from edgesmith.errors import EdgesmithError, ModelError, ResourceLimit

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["OUT_OF_MEMORY", "guarded"]

OUT_OF_MEMORY = re.compile(
    r"bad_alloc|out of memory|failed to allocate|cannot allocate memory|bad_array_new_length", re.I
)
_NODE = re.compile(r"\(op_type: ?(?P<op>[^,)]*), node name: ?(?P<name>[^)]*)\): *")
_CHECKER_CONTEXT = re.compile(r"Bad node spec for node\. Name: (?P<name>.*) OpType: (?P<op>\S+)")
_NOISE = re.compile(
    r"^(?:\[[A-Za-z]*Error\] *|\[ONNXRuntimeError\] : \d+ : \w+ : |Inference error\(s\): *|[\w/.:-]+: *(?=\[)"
    r"|\S+\.(?:cc|h):\d+: \w+: |Assertion `.*?` failed: )+"
)


def guarded(task: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function(*args, **kwargs)``, with any library exception turned into ModelError ``task: reason``.

    Raises:
        ModelError: the library refused the model.
        ResourceLimit: the library ran out of memory.
    """
    try:
        return function(*args, **kwargs)
    except (EdgesmithError, MemoryError):
        raise
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        if OUT_OF_MEMORY.search(text):
            raise ResourceLimit(f"{task}: out of memory") from error
        where = _where(text)
        raise ModelError(f"{task}: {_reason(text)}", where=where) from error


def _where(text: str) -> str:
    found = _NODE.search(text) or _CHECKER_CONTEXT.search(text)
    return f"node {found['name']!r} ({found['op']})" if found else ""


def _reason(text: str) -> str:
    lines = (_NOISE.sub("", _NODE.sub("", line)).strip() for line in text.splitlines())
    line = next(filter(None, lines), "no reason given")
    line = _NOISE.sub("", line)
    return line if len(line) <= 300 else f"{line[:297]}..."
