"""The loop over the reduction of a register tile on AArch64, in assembly.

FMLA by element takes its factor from a lane, so that a register holds several steps' elements of a row, and one LD1
fetches four vectors of weights. The operands of an LD1 are neighbouring registers: compilers that allocate those spill
sums in every round. Here every register of the operands is named, and the compiler allocates the sums.

A round is as many steps as a row's registers hold elements. While products of one group of weights are summed, the
next group is on its way, where registers for two groups are left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from edgesmith.c.writer import Writer
from edgesmith.target import Target

__all__ = ["LaneLoop", "LaneWindow"]

REGISTERS = 32
LANES = 4
VECTOR_BYTES = 16
IN_ORDER = 2
"""Cores that start no more instructions a cycle wait for each load whose result comes next."""


@dataclass(frozen=True)
class LaneLoop:
    """The loop of a tile.

    Args:
        rows: of the tile.
        streams: vectors that each run of weights gives in a step; a tile of one panel has one run.
        held: vectors of elements of each row that a round holds.
        group: vectors of weights that one instruction loads.
        groups: of them that lie in registers at a time.
    """

    rows: int
    streams: tuple[int, ...]
    held: int
    group: int
    groups: int

    @staticmethod
    def of(target: Target, rows: int, streams: Sequence[int], steps: int) -> LaneLoop | None:
        """The loop with the fewest instructions a step, or None where there is none; in order, one that loads ahead.

        Args:
            steps: of the reduction; a round has no more.
        """
        if target.arch != "aarch64" or not target.has("fma_lane"):
            return None
        in_order = target.core.uops_per_cycle <= IN_ORDER
        return _best(rows, tuple(streams), steps >= 2 * LANES, in_order) if steps >= LANES else None

    @property
    def steps(self) -> int:
        """Of a round."""
        return LANES * self.held

    @property
    def sums(self) -> int:
        """Vectors of them."""
        return self.rows * sum(self.streams)

    @property
    def registers(self) -> int:
        """Of the operands."""
        return self.rows * self.held + self.group * self.groups

    @property
    def instructions_per_step(self) -> float:
        """Multiply-adds, loads, and two of the loop."""
        return self.sums + (self.rows + 2) / self.steps + sum(self.streams) / self.group

    def write(
        self,
        w: Writer,
        rounds: int,
        rows: Sequence[str],
        weights: Sequence[str],
        total: Callable[[int, int, int], str],
        otherwise: Callable[[], None],
    ) -> None:
        """Write ``rounds`` rounds, which add to the sums.

        Args:
            rows: C text of the address of each row's first element.
            weights: variables that point to the streams of weights; they advance.
            total: variable of a sum, by the number of the row, of the stream, and of the vector in it.
            otherwise: writes the same in C, for compilers that limit the operands of assembly to 30.
        """
        sums = {
            (r, s, v): total(r, s, v)
            for r in range(self.rows)
            for s, vectors in enumerate(self.streams)
            for v in range(vectors)
        }
        pointers = [*(f"p{i}" for i in range(self.rows)), *weights, "rounds"]
        lines = ["1:", *self._round(weights, sums), "b.ne 1b"]
        w.line("#if defined(__clang__)")
        for i, row in enumerate(rows):
            w.line(f"const float *p{i} = {row};")
        w.line(f"ptrdiff_t rounds = {rounds};")
        _write_assembly(w, lines, sums.values(), pointers, self.registers)
        w.line("#else")
        otherwise()
        w.line("#endif")

    def _round(self, weights: Sequence[str], sums: Mapping[tuple[int, int, int], str]) -> list[str]:
        first = REGISTERS - self.registers
        loads = self._loads()
        elements = []
        for r in range(self.rows):
            names = ", ".join(f"q{first + r * self.held + h}" for h in range(self.held))
            elements.append(f"{'ldp' if self.held == 2 else 'ldr'} {names}, [%[p{r}]], #{self.held * VECTOR_BYTES}")

        def products(number: int, i: int) -> Iterator[tuple[str, int, int]]:
            stream, start = loads[number]
            step, v = divmod(start + i, self.streams[stream])
            for r in range(self.rows):
                yield sums[r, stream, v], first + r * self.held + step // LANES, step % LANES

        groups = [(weights[stream], self.group) for stream, _ in loads]
        lines = _sum_up(elements, groups, first + self.rows * self.held, products)
        return [*lines[:-1], "subs %[rounds], %[rounds], #1", lines[-1]]

    def _loads(self) -> list[tuple[int, int]]:
        """For each load of weights its stream and its first vector there; streams take turns."""
        found = [(v, s) for s, vectors in enumerate(self.streams) for v in range(0, self.steps * vectors, self.group)]
        return [(s, v) for v, s in sorted(found)]


@dataclass(frozen=True)
class LaneWindow:
    """The products of a line of input with a row of taps, where neighbouring columns lie side by side.

    Args:
        taps: for each tap the (row of the tile, element of the line) pairs that it multiplies; the first element may
            have any number.
        vectors: of the tile.
    """

    taps: tuple[tuple[tuple[int, int], ...], ...]
    vectors: int

    @staticmethod
    def of(target: Target, taps: Sequence[Sequence[tuple[int, int]]], vectors: int) -> LaneWindow | None:
        """None where instructions or registers do not do for it."""
        if target.arch != "aarch64" or not target.has("fma_lane"):
            return None
        window = LaneWindow(tuple(tuple(tap) for tap in taps), vectors)
        rows = {r for tap in window.taps for r, _ in tap}
        fits = len(rows) * vectors + window.registers <= REGISTERS
        return window if all(window.taps) and len(window._elements) >= LANES and fits else None

    @property
    def _elements(self) -> range:
        """From the first to the last."""
        used = [e for tap in self.taps for _, e in tap]
        return range(min(used, default=0), max(used, default=-1) + 1)

    @property
    def _starts(self) -> list[int]:
        """The first element of each vector that is loaded; the last vector ends with the last element."""
        elements = self._elements
        return [*elements[:-LANES:LANES], elements.stop - LANES]

    @property
    def _groups(self) -> list[int]:
        """Vectors of weights that each instruction loads."""
        whole, rest = divmod(len(self.taps) * self.vectors, 4)
        return [4] * whole + [rest] * (rest > 0)

    @property
    def registers(self) -> int:
        """Of the operands."""
        return len(self._starts) + self._groups[0]

    def write(self, w: Writer, x: str, total: Callable[[int, int], str], otherwise: Callable[[], None]) -> None:
        """Write the products, which advance the pointer ``w``.

        Args:
            x: C text of the address of the line's element 0.
            total: variable of a sum, by row and vector.
            otherwise: writes the same in C, for compilers that limit the operands of assembly to 30.
        """
        first, starts = REGISTERS - self.registers, self._starts
        elements = []
        for i in range(0, len(starts), 2):
            pair = starts[i : i + 2]
            if len(pair) == 2 and pair[1] == pair[0] + LANES:
                elements.append(f"ldp q{first + i}, q{first + i + 1}, [%[line], #{4 * (pair[0] - starts[0])}]")
            else:
                elements += [
                    f"ldr q{first + i + k}, [%[line], #{4 * (start - starts[0])}]" for k, start in enumerate(pair)
                ]

        def products(number: int, i: int) -> Iterator[tuple[str, int, int]]:
            tap, v = divmod(4 * number + i, self.vectors)
            for r, element in self.taps[tap]:
                k = min((element - starts[0]) // LANES, len(starts) - 1)
                yield total(r, v), first + k, element - starts[k]

        lines = _sum_up(elements, [("w", count) for count in self._groups], first + len(starts), products)
        sums = dict.fromkeys(total(r, v) for tap in self.taps for r, _ in tap for v in range(self.vectors))
        w.line("#if defined(__clang__)")
        with w.block(""):
            w.line(f"const float *line = {x} + {starts[0]};")
            _write_assembly(w, lines, sums, ["line", "w"], self.registers)
        w.line("#else")
        otherwise()
        w.line("#endif")


def _sum_up(
    elements: Sequence[str],
    groups: Sequence[tuple[str, int]],
    behind: int,
    products: Callable[[int, int], Iterable[tuple[str, int, int]]],
) -> list[str]:
    """Instructions that load elements and weights and add up their products.

    Args:
        elements: instructions that load those of the rows.
        groups: pointer and number of vectors of each load of weights.
        behind: number of the first register for weights.
        products: for a load, and a vector of it: (variable of the sum, register and lane of the factor).
    """
    most = max(count for _, count in groups)
    room = (REGISTERS - behind) // most

    def load(number: int) -> str:
        pointer, count = groups[number]
        start = behind + number % room * most
        names = ", ".join(f"v{start + i}.4s" for i in range(count))
        return f"ld1 {{{names}}}, [%[{pointer}]], #{count * VECTOR_BYTES}"

    lines = [elements[0], load(0), *elements[1:], *(load(number) for number in range(1, min(room, len(groups))))]
    for number, (_, count) in enumerate(groups):
        for i in range(count):
            b = behind + number % room * most + i
            lines += [f"fmla %[{total}].4s, v{b}.4s, v{a}.s[{lane}]" for total, a, lane in products(number, i)]
        lines += [load(number + room)] if number + room < len(groups) else []
    return lines


def _write_assembly(
    w: Writer, lines: Iterable[str], sums: Iterable[str], pointers: Iterable[str], registers: int
) -> None:
    """Write instructions that change sums and pointers, and the last ``registers`` vector registers."""
    w.line("__asm__ volatile(")
    for text in lines:
        w.line(f'    "{text}\\n"')
    outputs = [f'[{name}] "+w"({name})' for name in sums] + [f'[{name}] "+r"({name})' for name in pointers]
    named = [f'"v{number}"' for number in range(REGISTERS - registers, REGISTERS)]
    w.line(f"    : {', '.join(outputs)}")
    w.line(f'    : : {", ".join(named)}, "cc", "memory");')


@cache
def _best(rows: int, streams: tuple[int, ...], pairs: bool, in_order: bool) -> LaneLoop | None:
    ways = [
        LaneLoop(rows, streams, held, group, groups)
        for held in ((2, 1) if pairs else (1,))
        for group in (4, 2)
        for groups in (2, 1)
        if LANES * held * sum(streams) // group >= groups
    ]
    fitting = [loop for loop in ways if loop.sums + loop.registers <= REGISTERS]

    def cost(loop: LaneLoop) -> tuple[bool, float, int]:
        return in_order and loop.groups == 1, loop.instructions_per_step, -loop.groups

    return min(fitting, key=cost, default=None)
