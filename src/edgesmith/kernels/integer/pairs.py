"""Register tiles of integer sums by an instruction that multiplies two rows of inputs with those of two channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import Problem, Reject, kernel
from edgesmith.kernels.integer.dot import LOAD_CYCLES, Dot
from edgesmith.kernels.integer.lines import IntegerSums
from edgesmith.kernels.integer.tile_code import TileCode
from edgesmith.kernels.integer.tile_sums import TileSums
from edgesmith.kernels.integer.tiles import IntegerTiles
from edgesmith.kernels.integer.window import integer_window
from edgesmith.target import Core, Target

__all__ = ["IntegerPairs"]


@dataclass(frozen=True)
class PairDot(Dot):
    """Eight products for each of two rows with each of two channels, in four lanes."""

    def fits(self, target: Target, rows: int, vectors: int) -> bool:
        pairs = -(-rows // 2)
        return pairs * 2 * vectors + pairs + 1 + self.spare <= target.registers

    def cycles(self, core: Core, rows: int, vectors: int, *, by_lanes: bool = False) -> float:
        pairs = -(-rows // 2)
        # Two rows are put into one register by the units that multiply.
        multiplied = pairs * (2 * vectors + 1)
        loads = rows + 2 * vectors
        started = (multiplied + loads) / core.uops_per_cycle
        busy = max(multiplied / core.fma_per_cycle, started, loads / core.loads_per_cycle)
        return busy + LOAD_CYCLES * loads


DOT = PairDot("dot8_pairs", 8, DType.U8, DType.I8, "two_u8", "quads_i8", 1.0)


class PairCode(TileCode):
    """Sums of two rows by two channels, ``s<pair>_<channels>``, whose rows come together when they are complete."""

    def _declare(self, w: Writer, rows: int, vectors: int) -> None:
        for v in range(vectors):
            w.line(f"const es_m bias{v} = es_load_i32(b + {v * self.lanes});")
        for n in range(2 * vectors):
            lanes = ("0, 1, 0, 1", "2, 3, 2, 3")[n % 2]
            w.line(f"es_m s0_{n} = ES_SHUFFLE(bias{n // 2}, bias{n // 2}, {lanes});")
        for pair in range(1, -(-rows // 2)):
            w.line("es_m " + ", ".join(f"s{pair}_{n} = s0_{n}" for n in range(2 * vectors)) + ";")

    def _steps(self, w: Writer, count: int, rows: int, vectors: int) -> None:
        pairs = range(-(-rows // 2))
        for u in range(count):
            with w.block(""):
                for pair in pairs:
                    first, second = (
                        f"xk + {u * self.dot.group + r * self.packed.pixel}"
                        for r in (2 * pair, min(2 * pair + 1, rows - 1))
                    )
                    w.line(f"const es_m a{pair} = es_{self.dot.load_input}({first}, {second});")
                for n in range(2 * vectors):
                    at = (u * vectors * 2 + n) * 2 * self.dot.group
                    w.line(f"const es_m b{n} = es_{self.dot.load_weights}(w + {at});")
                    for pair in pairs:
                        w.line(f"s{pair}_{n} = es_{self.dot.name}(s{pair}_{n}, a{pair}, b{n});")

    def _finish(self, w: Writer, rows: int, vectors: int) -> None:
        for r in range(rows):
            lanes = ("0, 1, 4, 5", "2, 3, 6, 7")[r % 2]
            parts = [f"s{r // 2}_{2 * v}, s{r // 2}_{2 * v + 1}" for v in range(vectors)]
            sums = ", ".join(f"c{r}_{v} = ES_SHUFFLE({part}, {lanes})" for v, part in enumerate(parts))
            w.line(f"const es_m {sums};")


@kernel
class IntegerPairs(IntegerTiles):
    """Sums of integer products in register tiles of pairs of pixels by pairs of channels.

    Each instruction multiplies eight neighbouring bytes of two pixels with the weights of two channels: twice as many
    products as one that sums four in every lane.
    """

    name: ClassVar[str] = "integer-pairs"
    emitter: ClassVar[type[TileCode]] = PairCode

    def sums(self, problem: Problem) -> TileSums:
        return TileSums(integer_window(problem, takes_signs=True, any_width=True), DOT)

    def accepts(self, problem: Problem) -> Reject | None:
        if (reject := super().accepts(problem)) is not None:
            return reject
        window = integer_window(problem, takes_signs=True, any_width=True)
        if not problem.target.has(DOT.name) or problem.target.lanes != 4:
            return Reject("no instruction multiplies pairs of rows")
        if window.wide or window.input_type.itemsize > 1 or IntegerSums(window).dot.weight is not DType.I8:
            return Reject("multiplies bytes, and sums in 32 bits")
        return None
