"""Every primitive of the vector layer means the same on every instruction set as it does in numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import count, product
from pathlib import Path

import numpy as np
import pytest

from edgesmith.c.exponential import bias
from edgesmith.c.tiles import TILE_PRIMITIVES, configuration
from edgesmith.c.vector import VECTOR_PRIMITIVES, VectorPrimitive, header
from edgesmith.counting.calls import ForeignCall, ForeignFunctions
from edgesmith.ir import DType
from edgesmith.kernels.base import SIGNATURE
from edgesmith.target import Target, parse
from edgesmith.target.isa import ISAS, Isa
from edgesmith.toolchain import build, zig
from edgesmith.toolchain.compiler import system
from foreign import FOREIGN, foreign_target, missing_emulator

pytestmark = pytest.mark.toolchain

HERE = parse("native").isas
COMPILERS = {"zig": zig, "gcc": lambda: system("gcc")}
GUARD = 0x5A
"""Byte of memory that a store must leave alone."""
PER_LANE = {"pair": 2, "pairs": 2, "quad": 4, "quads": 4, "halves": 4, "shuffle16": 16, "two": 8}
"""Elements for each lane of the loads that put several into one."""
MULTIPLIED = {
    "dot2": (np.int16, np.int16),
    "dot2_planes": (np.int16, np.int16),
    "dot4": (np.uint8, np.int8),
    "dot4_i8": (np.int8, np.int8),
    "dot8_pairs": (np.uint8, np.int8),
    "dot4_planes": (np.int8, np.int8),
    "dot1": (np.int32, np.int32),
    "dot4_i16": (np.int16, np.int16),
}
"""Types of what the dot products multiply."""
ROUNDS = 4


class _Fallbacks(Target):
    """A target whose instruction set has a width and registers, and no instruction of its own for any primitive."""

    @property
    def isa(self) -> Isa | None:
        isa = super().isa
        return isa and replace(isa, instr={})


def target_of(isa: str, table: str) -> Target:
    target = parse(f"native+{isa}") if isa in HERE else foreign_target(isa)
    kind = _Fallbacks if table == "fallbacks" else Target
    return kind(target.triple, target.isas, cpu=target.cpu)


def element_of(kind: str) -> type[np.generic] | None:
    """Type of what a pointer parameter points to."""
    if "*" not in kind:
        return None
    name = kind.replace("const", "").replace("*", "").strip()
    return np.float32 if name == "float" else np.dtype(name.removesuffix("_t")).type


def wrapper(name: str) -> str:
    """A kernel function of one primitive: p[0] is its result, or the memory that a store changes, then its operands."""
    primitive = VECTOR_PRIMITIVES[name]
    lines, arguments, sources = [], [], (f"p[{i}]" for i in count(1))
    for kind, parameter in ((k.strip(), p) for k, p in primitive.parameters):
        if parameter == "n":
            arguments.append("n")
        elif kind.endswith("*"):
            arguments.append(f"({kind}){'p[0]' if primitive.result == 'void' else next(sources)}")
        else:
            lines.append(f"{kind} {parameter}_; memcpy(&{parameter}_, {next(sources)}, sizeof {parameter}_);")
            arguments.append(f"{parameter}_")
    call = f"es_{name}({', '.join(arguments)});"
    result = primitive.result
    lines.append(call if result == "void" else f"const {result} y = {call} memcpy(p[0], &y, sizeof y);")
    unused = " ".join(f"(void){p};" for p in ("n", "scratch", "end"))
    head = SIGNATURE.replace("@NAME@", f"call_{name}").replace("begin", "n")
    visible = '__attribute__((visibility("default")))'
    return f"{visible} {head};\n{head} {{ {unused} {' '.join(lines)} }}\n"


Run = Callable[[str, Sequence["Case"]], None]
"""Applies a primitive, by name, to cases."""


@cache
def primitives(isa: str, table: str, compiler: str, folder: Path) -> Run:
    """All primitives, compiled for an instruction set."""
    target, texts = target_of(isa, table), list(map(wrapper, VECTOR_PRIMITIVES))
    if isa not in HERE:
        names = [(f"call_{name}", False) for name in VECTOR_PRIMITIVES]
        text = '#include "es_simd.h"\n' + "\n".join(texts)
        program = ForeignFunctions([text], names, header(target), target, folder)

        def emulated(name: str, cases: Sequence[Case]) -> None:
            number = list(VECTOR_PRIMITIVES).index(name)
            program.run([ForeignCall(number, [(c.n, 0)], c.blocks, 1, c.pointers) for c in cases])

        return emulated
    (folder / "primitives.c").write_text(header(target) + "\n".join(texts))
    made = build(folder, folder, "primitives", target, COMPILERS[compiler](), extra=("-Werror",), executable=False)
    library = ctypes.CDLL(str(made["shared"]))

    def here(name: str, cases: Sequence[Case]) -> None:
        for c in cases:
            pointers = (ctypes.c_void_p * len(c.pointers))(*c.pointers)
            getattr(library, f"call_{name}")(pointers, ctypes.c_int32(c.n), 0, None)

    return here


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Path]:
    return {
        key: tmp_path_factory.mktemp("-".join(key))
        for key in ((isa, table, c) for isa in ISAS for table in ("table", "fallbacks") for c in COMPILERS)
    }


def floats(name: str, lanes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Vectors a, b and c: special values where the primitive takes any float, its domain otherwise."""
    vectors = [rng.normal(scale=8, size=lanes).astype(np.float32) for _ in "abc"]
    if name == "exp2_biased":
        return [(rng.integers(-127, 129, lanes) + bias(DType.F32)).astype(np.float32)]
    if name == "to_i32":
        return [rng.integers(-(2**24), 2**24, lanes).astype(np.float32)]
    if name in ("exponent", "significand", "sqrt"):
        return [np.exp2(rng.uniform(-126, 127, lanes)).astype(np.float32)]
    if name not in ("sum", "fma", "fma_lane"):
        special = np.array([np.inf, -np.inf, -0.0, 2.5], np.float32)
        vectors[0][:4] = special if lanes > 1 else rng.choice(special)
        vectors[1][-2:] = vectors[0][-2:]
    if name in ("max", "min"):
        vectors[0][0], vectors[1][min(1, lanes - 1)] = np.nan, np.nan
    return vectors


def integers(dtype: type[np.generic], size: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the type's whole range, a third of them at its ends."""
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    anywhere = rng.integers(limits.min, limits.max, size, endpoint=True)
    ends = rng.choice([limits.min, limits.max, 0], size)
    return np.where(rng.random(size) < 1 / 3, ends, anywhere).astype(dtype)


def multiplicands(name: str, lanes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """i32 sums, and vectors of the narrow integers that a dot product multiplies."""
    first, second = MULTIPLIED[name.removesuffix("_lane")]
    size = 4 * lanes * (2 if name == "dot4_i16" else 1) // np.dtype(first).itemsize
    numbers, factors = integers(first, size, rng), integers(second, size, rng)
    if name.startswith("dot4_planes"):
        factors = np.maximum(factors, -127).astype(np.int8)
    if name.endswith("_planes"):
        numbers = np.tile(numbers[: size // lanes], lanes)
    return [integers(np.int32, lanes, rng), numbers.view(np.int32), factors.view(np.int32)]


def operands(name: str, primitive: VectorPrimitive, lanes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Values of the parameters in order, the memory of a store and the number of lanes aside."""
    if name.startswith("dot"):
        return multiplicands(name, lanes, rng)
    if name in ("add_f16", "mul_f16", "max_f16", "min_f16"):
        # Positive and finite: which of two zeros is the larger is open, and so are the bits of NaN.
        return [np.nan_to_num(np.abs(halves(2 * lanes, rng)), posinf=0.5).view(np.int32) for _ in "ab"]
    if name.endswith("_f16") and "es_m" in dict(primitive.parameters):
        return [halves(2 * lanes, rng).view(np.int32) for _ in primitive.parameters]
    if name.startswith("mla_f16"):
        # Few bits: sums that f32 holds are rounded once, by any program.
        return [(rng.integers(-999, 1000, 2 * lanes) / 8).astype(np.float16).view(np.int32) for _ in "cab"]
    if name.startswith("store_f16"):
        return [halves(lanes, rng).astype(np.float32)]
    if name in ("round_f16", "join_f16"):
        return [roundings_of_halves(lanes, rng) for _ in primitive.parameters]
    if name.startswith("round_") and primitive.result == "void":
        vectors = [
            rng.choice([1e9, -1e20, -np.inf, np.nan, 0.5, 1.5, 127.5, -129.5, 3e4, -40.2], lanes) for _ in "abcd"
        ]
        if name.startswith(("round_number", "round_short")):
            vectors = [np.nan_to_num(v, nan=9.5, neginf=-np.inf) for v in vectors]
        if name.startswith("round_short"):
            vectors = [np.clip(v, -32700, 32700) for v in vectors]
        number = rng.choice([-128, -7, 0, 117, 255], 1).astype(np.int32)
        return [*(v.astype(np.float32) for v in vectors[: len(primitive.parameters) - 2]), number]
    reals = iter(floats(name, lanes, rng))
    stored = next((element_of(k) for k, p in primitive.parameters if p == "p"), None)
    found = []
    for kind, parameter in ((k.strip(), p) for k, p in primitive.parameters):
        if parameter == "n" or (parameter == "p" and primitive.result == "void"):
            continue
        element = element_of(kind)
        if kind == "es_v" and primitive.result == "void" and stored is not np.float32:
            assert stored is not None
            found.append(integers(stored, lanes, rng).astype(np.float32))
        elif kind in ("es_v", "float"):
            found.append(next(reals)[: None if kind == "es_v" else 1])
        elif element is not None:
            size = lanes * PER_LANE.get(name.partition("_")[0], 1)
            found.append(next(reals) if element is np.float32 else integers(element, size, rng))
        elif name == "select":
            found.append(-rng.integers(0, 2, lanes).astype(np.int32))
        else:
            found.append(integers(np.int32, lanes if kind == "es_m" else 1, rng))
    return found


def halves(size: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of fp16: normal, subnormal and infinite ones."""
    numbers = rng.integers(0, 2**16, size).astype(np.uint16).view(np.float16)
    return np.where(np.isnan(numbers), np.float16(-np.inf), numbers)


def roundings_of_halves(size: int, rng: np.random.Generator) -> np.ndarray:
    """f32 numbers near those of fp16: ties among them, what fp16 does not hold, and NaN."""
    numbers = halves(size, rng).astype(np.float32) * rng.choice([1, 1 + 2.0**-11, 1 + 3 * 2.0**-12, 2.0**-11], size)
    special = rng.choice([65519.9, 65520.0, -65536.0, 1e38, 2.0**-25, -(2.0**-25) * 1.5, np.nan, -0.0], size)
    return np.where(rng.random(size) < 0.7, numbers, special).astype(np.float32)


class Case:
    """Operands of a primitive in memory, one element behind an aligned address, and memory for its result.

    Args:
        given: values of the parameters in order, the memory of a store and the number of lanes aside.
        n: the number of lanes.
    """

    def __init__(self, name: str, lanes: int, n: int, given: list[np.ndarray]) -> None:
        self.n, self.given = n, given
        self.out = np.full(8 * lanes + 16, GUARD, np.uint8)
        self._held = [displaced(v[:n] if name.startswith("load") and name.endswith("_n") else v) for v in given]

    @property
    def blocks(self) -> list[np.ndarray]:
        return [self.out, *(v.view(np.uint8) for v in self._held)]

    @property
    def pointers(self) -> list[int]:
        """Addresses of the result and of the operands."""
        return [self.out.ctypes.data, *(v.ctypes.data for v in self._held)]


def says_something(isa: str, table: str, compiler: str) -> bool:
    """Whether a way of compiling is none that stands for another one.

    Only the bundled compiler is for other machines. On RISC-V, fallbacks truncate floats, where QEMU 7.2 aborts.
    """
    if isa not in HERE and (compiler != "zig" or (table == "fallbacks" and ISAS[isa].arch in ("riscv64", "wasm32"))):
        return False
    return table == "table" or all(ISAS[i].vector_bits != ISAS[isa].vector_bits for i in ISAS[isa].implies)


WAYS = [w for w in product(ISAS, ("table", "fallbacks"), COMPILERS) if says_something(*w)]


@pytest.mark.parametrize("name", VECTOR_PRIMITIVES)
@pytest.mark.parametrize(("isa", "table", "compiler"), WAYS)
def test_primitive(isa: str, table: str, compiler: str, name: str, folders: dict[tuple[str, str, str], Path]) -> None:
    if isa not in HERE and (missing := missing_emulator(isa) if isa in FOREIGN else f"this machine lacks {isa}"):
        pytest.skip(missing)
    lanes = target_of(isa, table).lanes
    primitive = VECTOR_PRIMITIVES[name]
    counted = any(parameter == "n" for _, parameter in primitive.parameters)
    rng = np.random.default_rng(7)
    counts = list(range(1, lanes) if counted else [lanes]) * ROUNDS
    cases = [Case(name, lanes, n, operands(name, primitive, lanes, rng)) for n in counts]
    primitives(isa, table, compiler, folders[isa, table, compiler])(name, cases)
    for case in cases:
        check(name, primitive, lanes, case)


def displaced(array: np.ndarray) -> np.ndarray:
    """A copy that lies one element behind an aligned address."""
    memory = np.empty(array.size + 1, array.dtype)
    memory[1:] = array
    return memory[1:]


def check(name: str, primitive: VectorPrimitive, lanes: int, case: Case) -> None:
    n, given, out = case.n, case.given, case.out
    arguments, sources, stored = [], iter(given), None
    for kind, parameter in primitive.parameters:
        if parameter == "p" and primitive.result == "void":
            stored = element_of(kind)
            assert stored is not None
            arguments.append(np.full(4 * lanes, GUARD, np.uint8).view(stored)[:lanes])
        elif parameter == "n":
            arguments.append(n)
        else:
            value = next(sources)
            arguments.append(value[0] if kind.strip() in ("float", "int32_t") else value)
    with np.errstate(all="ignore"):
        meaning = np.asarray(primitive.numpy(*arguments))
    if meaning.dtype == bool:
        meaning = -meaning.astype(np.int32)
    dtype = stored or (np.int32 if primitive.result in ("es_m", "es_q") else np.float32)
    assert meaning.dtype == dtype
    size = 1 if primitive.result == "float" else meaning.size if stored or primitive.result == "es_q" else lanes
    want = np.broadcast_to(meaning[:size] if meaning.ndim else meaning, size)
    got = out[: want.nbytes].view(dtype)
    assert (out[want.nbytes :] == GUARD).all(), "memory behind the result was changed"
    if primitive.result == "float":
        np.testing.assert_allclose(got, want, rtol=lanes * 2.0**-24 * 8)
    elif name.startswith("fma"):
        # Without a fused instruction the product is rounded first.
        factor = given[1][n] if name == "fma_lane" else given[1]
        error = 2.0**-23 * (abs(given[0] * factor) + abs(given[2]))
        assert (abs(got - want) <= error).all()
    else:
        np.testing.assert_array_equal(got, want)
        if dtype is np.float32:
            np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


def test_tables_name_known_primitives() -> None:
    for isa in ISAS.values():
        assert set(isa.instr) <= set(VECTOR_PRIMITIVES)
        assert not isa.tiles or set(isa.tiles) == set(TILE_PRIMITIVES)
        assert isa.vector_bits % 128 == 0 or isa.vector_bits == 32


def test_tiles_are_configured_as_the_processor_reads_it() -> None:
    shapes = configuration([(16, 64), (3, 20)])
    assert (shapes.nbytes, shapes[0]) == (64, 1)
    assert shapes[16:32].view(np.uint16).tolist() == [64, 20, 0, 0, 0, 0, 0, 0]
    assert shapes[48:56].tolist() == [16, 3, 0, 0, 0, 0, 0, 0]
