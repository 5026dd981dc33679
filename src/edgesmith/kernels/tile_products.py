"""Products of a block of rows by vectors of channels in tile registers, and the same in vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from edgesmith.c.tiles import MAX_ROW_BYTES, MAX_ROWS, TILES, configuration
from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.lanes import store

__all__ = ["Reduction", "TileDot", "TileProducts"]

GROUP_BYTES = 4
SPARE_REGISTERS = 8
DOT_CYCLES, DOT_LATENCY = 17.7, 52.0
"""Of one product of full tiles; the latency is that of Intel's Optimization Reference Manual."""
LOAD_CYCLES = 4.4
STORE_CYCLES = 16.0


@dataclass(frozen=True)
class TileDot:
    """How tiles, and the lanes of vectors, multiply and sum.

    Args:
        name: of the primitive of the tile layer, after ``ES_TILE_``.
        group: neighbouring elements that are multiplied in one lane.
        element, weight, sum: types in memory.
        repeat: template of the group of input elements at an address, in all lanes of an ``es_m``.
        load: template of the group of weights of each lane, from an address.
        add: template of the vector of sums {0} plus the products of {1} and {2}.
        plus: template of the addition of two vectors of sums, in parentheses or a cast.
        exact_runs: nothing beyond a run is multiplied, because weights of 0 hide only what is finite.
    """

    name: str
    group: int
    element: DType
    weight: DType
    sum: DType
    repeat: str
    load: str
    add: str
    plus: str
    exact_runs: bool = False

    @property
    def vector(self) -> str:
        """C type of a vector of sums."""
        return "es_v" if self.sum is DType.F32 else "es_m"


@dataclass(frozen=True)
class Reduction:
    """Where the elements that are multiplied for one output lie, relative to its first one.

    Args:
        loops: (count, input elements from one iteration to the next) of loops around the runs, outermost first.
        steps: products of tiles of a run.
        groups: groups of elements that lie in one lane, of a step.
        row: input elements from one row of the block to the next.
    """

    loops: tuple[tuple[int, int], ...]
    steps: int
    groups: int
    row: int

    @classmethod
    def of(cls, loops: tuple[tuple[int, int], ...], run_groups: int, row: int, exact: bool = False) -> Reduction:
        """A run is cut into steps of equal size, as few as tiles allow; weights beyond its end must be 0.

        Args:
            exact: steps end where the run does.
        """
        steps = -(-run_groups // MAX_ROWS)
        while exact and run_groups % steps:
            steps += 1
        return cls(tuple(loop for loop in loops if loop[0] > 1), steps, -(-run_groups // steps), row)

    @property
    def run_groups(self) -> int:
        return self.steps * self.groups

    @property
    def all_steps(self) -> int:
        found = self.steps
        for count, _ in self.loops:
            found *= count
        return found

    @property
    def reach(self) -> int:
        """Input elements from the first of the first run to the first of the last one."""
        return sum((count - 1) * stride for count, stride in self.loops)


@dataclass(frozen=True)
class TileProducts:
    """``down`` x ``vectors`` tiles of sums, in rows of ``rows``; every register is a tile of 16 channels.

    Args:
        rows: rows of one tile of inputs.
    """

    down: int
    vectors: int
    rows: int
    dot: TileDot
    reduction: Reduction

    @staticmethod
    def fits(down: int, vectors: int) -> bool:
        """Whether the sums, the operands along the shorter side and one of the longer side have a register each."""
        return down * vectors + min(down, vectors) + 1 <= TILES

    @property
    def block(self) -> int:
        """Rows that are computed together."""
        return self.down * self.rows

    @property
    def pitch(self) -> int:
        """Elements from one row of sums in memory to the next."""
        return self.vectors * MAX_ROWS

    @property
    def _vector_rows(self) -> tuple[int, int]:
        """Rows of a register tile of the vector form, and how many of these make the block."""
        most = max(1, min(self.block, (32 - SPARE_REGISTERS) // self.vectors))
        count = -(-self.block // most)
        return -(-self.block // count), count

    @property
    def computed_rows(self) -> int:
        """Rows whose inputs are read and whose sums are written, those beyond the block included."""
        rows, count = self._vector_rows
        return rows * count

    @property
    def sums(self) -> int:
        """Elements of the memory for sums."""
        return self.computed_rows * self.pitch

    def input_elements(self, rows: int) -> int:
        """Elements from the first one that is read to behind the last one, for so many rows in blocks."""
        starts = (-(-rows // self.block) - 1) * self.block + self.computed_rows - 1
        return starts * self.reduction.row + self.reduction.reach + self.reduction.run_groups * self.dot.group

    def cycles(self, vectors: int) -> float:
        """Predicted cycles of a block, loads from the first-level cache: throughput or latency, whichever binds."""
        full = self.rows / MAX_ROWS
        loads = self.down * full + vectors * self.reduction.groups / MAX_ROWS
        step = max(self.down * vectors * DOT_CYCLES * full + loads * LOAD_CYCLES, DOT_LATENCY)
        return self.reduction.all_steps * step + self.down * vectors * STORE_CYCLES * full + DOT_LATENCY

    def write_shapes(self, w: Writer) -> None:
        """Write ``@NAME@_shapes``, the configuration of the tiles."""
        sums = [(self.rows, MAX_ROW_BYTES)] * (self.down * self.vectors)
        inputs = [(self.rows, self.reduction.groups * GROUP_BYTES)] * self._held_or_one(self.down)
        weights = [(self.reduction.groups, MAX_ROW_BYTES)] * self._held_or_one(self.vectors)
        numbers = ", ".join(map(str, configuration([*sums, *inputs, *weights])))
        w.line(f"static const uint8_t @NAME@_shapes[64] __attribute__((aligned(64))) = {{{numbers}}};")
        w.line()

    def _held_or_one(self, side: int) -> int:
        """Registers for the operands along a side."""
        return side if side == min(self.down, self.vectors) else 1

    def write_tiles(self, w: Writer, function: str, vectors: int) -> None:
        """Write the function that multiplies tiles: ``function(x, w, sums)``."""
        first_input = self.down * self.vectors
        first_weights = first_input + self._held_or_one(self.down)
        rows_held = self.down <= self.vectors
        input_stride, weight_stride = self.reduction.row * self.dot.element.itemsize, vectors * MAX_ROW_BYTES

        def load_input(row: int) -> int:
            tile = first_input + (row if rows_held else 0)
            at = f"xk + {row * self.rows * self.reduction.row}"
            w.line(f"ES_TILE_LOAD({tile}, {at}, {input_stride});")
            return tile

        def load_weights(vector: int) -> int:
            tile = first_weights + (vector if not rows_held or self.down == self.vectors else 0)
            w.line(f"ES_TILE_LOAD({tile}, w + {vector * MAX_ROW_BYTES // self.dot.weight.itemsize}, {weight_stride});")
            return tile

        def multiply(row: int, vector: int, x: int, weights: int) -> None:
            w.line(f"ES_TILE_{self.dot.name.upper()}({row * vectors + vector}, {x}, {weights});")

        with self._function(w, function):
            w.line("ES_IN_ORDER;")
            for tile in range(self.down * vectors):
                w.line(f"ES_TILE_ZERO({tile});")
            with self._runs(w), w.loop("k", self.reduction.steps):
                if rows_held:
                    held = [load_input(row) for row in range(self.down)]
                    for vector in range(vectors):
                        weights = load_weights(vector)
                        for row, x in enumerate(held):
                            multiply(row, vector, x, weights)
                else:
                    held = [load_weights(vector) for vector in range(vectors)]
                    for row in range(self.down):
                        x = load_input(row)
                        for vector, weights in enumerate(held):
                            multiply(row, vector, x, weights)
                w.line(f"xk += {self.reduction.groups * self.dot.group};")
                w.line(f"w += {self.reduction.groups * weight_stride // self.dot.weight.itemsize};")
            for row in range(self.down):
                for vector in range(vectors):
                    at = f"sums + {row * self.rows * self.pitch + vector * MAX_ROWS}"
                    w.line(f"ES_TILE_STORE({row * vectors + vector}, {at}, {self.pitch * 4});")
        w.line()

    def write_vectors(self, w: Writer, function: str, vectors: int) -> None:
        """Write the function that computes the same in vectors of 16 lanes: ``function(x, w, sums)``."""
        dot, reduction = self.dot, self.reduction
        rows, count = self._vector_rows
        with self._function(w, function):
            w.line(f"const {dot.weight.c} *const first = w;")
            with w.loop("block", count):
                w.line("w = first;")
                w.line(f"{dot.vector} c[{rows}][{vectors}] = {{{{{{0}}}}}};")
                with self._runs(w, f"x + block * {rows * reduction.row}"), w.loop("k", reduction.run_groups):
                    for v in range(vectors):
                        w.line(f"const es_m b{v} = {dot.load.format(f'w + {v * MAX_ROWS * dot.group}')};")
                    with w.loop("r", rows):
                        w.line(f"const es_m a = {dot.repeat.format(f'xk + r * {reduction.row}')};")
                        for v in range(vectors):
                            w.line(f"c[r][{v}] = {dot.add.format(f'c[r][{v}]', 'a', f'b{v}')};")
                    w.line(f"xk += {dot.group};")
                    w.line(f"w += {vectors * MAX_ROWS * dot.group};")
                with w.loop("r", rows):
                    for v in range(vectors):
                        at = f"sums + (block * {rows} + r) * {self.pitch} + {v * MAX_ROWS}"
                        w.line(store(dot.sum, at, f"c[r][{v}]"))
        w.line()

    @contextmanager
    def _function(self, w: Writer, name: str) -> Iterator[None]:
        parameters = f"const {self.dot.element.c} *x, const {self.dot.weight.c} *w, {self.dot.sum.c} *sums"
        with w.block(f"static void {name}({parameters})"):
            yield

    @contextmanager
    def _runs(self, w: Writer, start: str = "x") -> Iterator[None]:
        """The loops over the runs, with the pointer ``xk`` at each one's first element."""
        with ExitStack() as stack:
            for name, (count, stride) in zip("ij", self.reduction.loops, strict=False):
                stack.enter_context(w.loop(name, count))
                start += f" + {name} * {stride}"
            stack.enter_context(w.block(""))
            w.line(f"const {self.dot.element.c} *xk = {start};")
            yield
