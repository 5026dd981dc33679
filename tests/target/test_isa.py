"""Every primitive of the vector layer means the same on every instruction set as it does in numpy."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgesmith.c.exponential import bias
from edgesmith.c.tiles import TILE_PRIMITIVES, configuration
from edgesmith.c.vector import VECTOR_PRIMITIVES, VectorPrimitive, header
from edgesmith.ir import DType
from edgesmith.target import Target, parse
from edgesmith.target.isa import ISAS, Isa
from edgesmith.toolchain import build, zig
from edgesmith.toolchain.compiler import system

pytestmark = pytest.mark.toolchain

HERE = parse("native").isas
COMPILERS = {"zig": zig, "gcc": lambda: system("gcc")}
GUARD = 0x5A
"""Byte of memory that a store must leave alone."""
PER_LANE = {"pair": 2, "pairs": 2, "quad": 4, "quads": 4, "shuffle16": 16}
"""Elements for each lane of the loads that put several into one."""
ROUNDS = 4


class _Fallbacks(Target):
    """A target whose instruction set has a width and registers, and no instruction of its own for any primitive."""

    @property
    def isa(self) -> Isa | None:
        isa = super().isa
        return isa and replace(isa, instr={})


def target_of(isa: str, table: str) -> Target:
    target = parse(f"native+{isa}")
    kind = _Fallbacks if table == "fallbacks" else Target
    return kind(target.triple, target.isas)


def element_of(kind: str) -> type[np.generic] | None:
    """Type of what a pointer parameter points to."""
    if "*" not in kind:
        return None
    name = kind.replace("const", "").replace("*", "").strip()
    return np.float32 if name == "float" else np.dtype(name.removesuffix("_t")).type


def wrapper(name: str) -> str:
    """A C function that applies a primitive to operands in memory; ``out`` holds the memory that a store changes."""
    primitive = VECTOR_PRIMITIVES[name]
    lines, arguments, sources = [], [], iter("abc")
    for kind, parameter in ((k.strip(), p) for k, p in primitive.parameters):
        if parameter == "n":
            arguments.append("n")
        elif kind.endswith("*"):
            arguments.append(f"({kind}){'out' if primitive.result == 'void' else next(sources)}")
        else:
            source = next(sources)
            lines.append(f"{kind} {source}_; memcpy(&{source}_, {source}, sizeof {source}_);")
            arguments.append(f"{source}_")
    call = f"es_{name}({', '.join(arguments)});"
    result = primitive.result
    lines.append(call if result == "void" else f"const {result} y = {call} memcpy(out, &y, sizeof y);")
    unused = " ".join(f"(void){p};" for p in ("a", "b", "c", "n"))
    parameters = "const void *a, const void *b, const void *c, int32_t n, void *out"
    visible = '__attribute__((visibility("default")))'
    return (
        f"{visible} void call_{name}({parameters});\nvoid call_{name}({parameters}) {{ {unused} {' '.join(lines)} }}\n"
    )


@cache
def library(isa: str, table: str, compiler: str, folder: Path) -> ctypes.CDLL:
    target = target_of(isa, table)
    (folder / "primitives.c").write_text(header(target) + "\n".join(map(wrapper, VECTOR_PRIMITIVES)))
    flags = ("-Werror",)
    made = build(folder, folder, "primitives", target, COMPILERS[compiler](), extra=flags, executable=False)
    return ctypes.CDLL(str(made["shared"]))


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
    if name not in ("sum", "fma"):
        vectors[0][:4] = [np.inf, -np.inf, -0.0, 2.5]
        vectors[1][-2:] = vectors[0][-2:]
    if name in ("max", "min"):
        vectors[0][0], vectors[1][1] = np.nan, np.nan
    return vectors


def integers(dtype: type[np.generic], count: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the type's whole range, a third of them at its ends."""
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    anywhere = rng.integers(limits.min, limits.max, count, endpoint=True)
    ends = rng.choice([limits.min, limits.max, 0], count)
    return np.where(rng.random(count) < 1 / 3, ends, anywhere).astype(dtype)


def multiplicands(name: str, lanes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """i32 sums, and vectors of the narrow integers that a dot product multiplies."""
    first, second = (np.int16, np.int16) if name == "dot2" else (np.uint8, np.int8)
    count = 4 * lanes // np.dtype(first).itemsize
    return [
        integers(np.int32, lanes, rng),
        integers(first, count, rng).view(np.int32),
        integers(second, count, rng).view(np.int32),
    ]


def operands(name: str, primitive: VectorPrimitive, lanes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Values of the parameters in order, the memory of a store and the number of lanes aside."""
    if name.startswith("dot"):
        return multiplicands(name, lanes, rng)
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
            count = lanes * PER_LANE.get(name.partition("_")[0], 1)
            found.append(next(reals) if element is np.float32 else integers(element, count, rng))
        elif name == "select":
            found.append(-rng.integers(0, 2, lanes).astype(np.int32))
        else:
            found.append(integers(np.int32, lanes if kind == "es_m" else 1, rng))
    return found


@pytest.mark.parametrize("name", VECTOR_PRIMITIVES)
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("table", ["table", "fallbacks"])
@pytest.mark.parametrize("isa", ISAS)
def test_primitive(isa: str, table: str, compiler: str, name: str, folders: dict[tuple[str, str, str], Path]) -> None:
    if isa not in HERE:
        pytest.skip(f"this machine lacks {isa}")
    lanes = target_of(isa, table).lanes
    function = getattr(library(isa, table, compiler, folders[isa, table, compiler]), f"call_{name}")
    primitive = VECTOR_PRIMITIVES[name]
    counted = any(parameter == "n" for _, parameter in primitive.parameters)
    rng = np.random.default_rng(7)
    for n in list(range(1, lanes) if counted else [lanes]) * ROUNDS:
        check(function, name, primitive, lanes, n, operands(name, primitive, lanes, rng))


def displaced(array: np.ndarray) -> np.ndarray:
    """A copy that lies one element behind an aligned address."""
    memory = np.empty(array.size + 1, array.dtype)
    memory[1:] = array
    return memory[1:]


def check(
    function: ctypes._CFuncPtr, name: str, primitive: VectorPrimitive, lanes: int, n: int, given: list[np.ndarray]
) -> None:
    out = np.full(4 * lanes + 16, GUARD, np.uint8)
    held = [displaced(v[:n] if name.startswith("load") and name.endswith("_n") else v) for v in given]
    pointers = [v.ctypes.data_as(ctypes.c_void_p) for v in held] + [None] * 3
    function(*pointers[:3], ctypes.c_int32(n), out.ctypes.data_as(ctypes.c_void_p))

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
    dtype = stored or (np.int32 if primitive.result == "es_m" else np.float32)
    assert meaning.dtype == dtype
    count = 1 if primitive.result == "float" else lanes
    want = np.broadcast_to(meaning[:count] if meaning.ndim else meaning, count)
    got = out[: want.nbytes].view(dtype)
    assert (out[want.nbytes :] == GUARD).all(), "memory behind the result was changed"
    if primitive.result == "float":
        np.testing.assert_allclose(got, want, rtol=lanes * 2.0**-24 * 8)
    elif name == "fma":
        # Without a fused instruction the product is rounded first.
        error = 2.0**-23 * (abs(given[0] * given[1]) + abs(given[2]))
        assert (abs(got - want) <= error).all()
    else:
        np.testing.assert_array_equal(got, want)
        if dtype is np.float32:
            np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


def test_tables_name_known_primitives() -> None:
    for isa in ISAS.values():
        assert set(isa.instr) <= set(VECTOR_PRIMITIVES)
        assert not isa.tiles or set(isa.tiles) == set(TILE_PRIMITIVES)
        assert isa.vector_bits % 128 == 0


def test_tiles_are_configured_as_the_processor_reads_it() -> None:
    shapes = configuration([(16, 64), (3, 20)])
    assert (shapes.nbytes, shapes[0]) == (64, 1)
    assert shapes[16:32].view(np.uint16).tolist() == [64, 20, 0, 0, 0, 0, 0, 0]
    assert shapes[48:56].tolist() == [16, 3, 0, 0, 0, 0, 0, 0]
