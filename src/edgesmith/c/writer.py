"""An indenting writer of C text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod

__all__ = ["Writer"]


class Writer:
    """Collects lines of C; ``block`` opens a brace and indents what is written inside."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0
        self._names = 0

    def line(self, text: str = "") -> None:
        self._lines.append("    " * self._depth + text if text else "")

    def lines(self, text: str) -> None:
        for line in text.splitlines():
            self.line(line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(f"{head} {{" if head else "{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")

    @contextmanager
    def loop(
        self, index: str, count: int | str, start: int | str = 0, step: int = 1, kind: str = "int32_t"
    ) -> Iterator[None]:
        """A counting loop; one that runs exactly once becomes a constant index in a plain block.

        Args:
            kind: C type of the index.
        """
        if start == 0 and count == step == 1:
            with self.block(""):
                self.line(f"enum {{ {index} = 0 }};")
                yield
            return
        advance = f"++{index}" if step == 1 else f"{index} += {step}"
        with self.block(f"for ({kind} {index} = {start}; {index} < {count}; {advance})"):
            yield

    @contextmanager
    def nest(self, loops: Sequence[tuple[str, int]]) -> Iterator[None]:
        """Loops of (index, count), outermost first."""
        with ExitStack() as stack:
            for index, count in loops:
                stack.enter_context(self.loop(index, count))
            yield

    def unravel(self, linear: str, coordinates: Sequence[tuple[str, int]]) -> None:
        """Constants for the coordinates (name, extent), outermost first, of a row-major index."""
        total, inner = prod(max(n, 1) for _, n in coordinates), 1
        for name, extent in reversed(coordinates):
            if extent == 1:
                self.line(f"enum {{ {name} = 0 }};")
                continue
            quotient = linear if inner == 1 else f"{linear} / {inner}"
            inner *= max(extent, 1)
            self.line(f"const int32_t {name} = {quotient if inner == total else f'{quotient} % {max(extent, 1)}'};")

    def fresh(self, stem: str = "t") -> str:
        """A name not given before by this writer."""
        self._names += 1
        return f"{stem}{self._names}"

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"
