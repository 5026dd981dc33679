"""Every primitive of the vector layer means the same on every instruction set as it does in numpy."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgesmith.c.exponential import bias
from edgesmith.c.vector import VECTOR_PRIMITIVES, header
from edgesmith.ir import DType
from edgesmith.target import parse
from edgesmith.target.isa import ISAS
from edgesmith.toolchain import build, zig
from edgesmith.toolchain.compiler import system

pytestmark = pytest.mark.toolchain

HERE = parse("native").isas
COMPILERS = {"zig": zig, "gcc": lambda: system("gcc")}
ADDRESSES = ("load", "load_n", "store", "store_n")


def wrapper(name: str) -> str:
    """A C function that applies a primitive to vectors in memory; ``out`` holds the memory that a store changes."""
    primitive = VECTOR_PRIMITIVES[name]
    arguments, sources = [], iter("abc")
    for kind, parameter in primitive.parameters:
        if parameter == "p":
            arguments.append("out" if primitive.result == "void" else next(sources))
        elif kind.strip() == "int32_t":
            arguments.append(parameter)
        else:
            value = f"es_load({next(sources)})"
            arguments.append({"es_m": f"({value} > 0.0f)", "float": f"{value}[0]"}.get(kind.strip(), value))
    call = f"es_{name}({', '.join(arguments)})"
    body = {
        "void": f"{call};",
        "float": f"out[0] = {call};",
        "es_m": f"es_store(out, es_select({call}, es_set1(1.0f), es_set1(0.0f)));",
    }.get(primitive.result, f"es_store(out, {call});")
    unused = " ".join(f"(void){p};" for p in ("a", "b", "c", "n"))
    parameters = "const float *a, const float *b, const float *c, int32_t n, float *out"
    visible = '__attribute__((visibility("default")))'
    return f"{visible} void call_{name}({parameters});\nvoid call_{name}({parameters}) {{ {unused} {body} }}\n"


@cache
def library(isa: str, compiler: str, folder: Path) -> ctypes.CDLL:
    target = parse(f"native+{isa}")
    (folder / "primitives.c").write_text(header(target) + "\n".join(map(wrapper, VECTOR_PRIMITIVES)))
    flags = ("-Werror",)
    made = build(folder, folder, "primitives", target, COMPILERS[compiler](), extra=flags, executable=False)
    return ctypes.CDLL(str(made["shared"]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    return {(isa, c): tmp_path_factory.mktemp(f"{isa}-{c}") for isa in ISAS for c in COMPILERS}


def operands(name: str, lanes: int) -> list[np.ndarray]:
    """Vectors a, b and c: special values where the primitive takes any float, its domain otherwise."""
    rng = np.random.default_rng(7)
    vectors = [rng.normal(scale=8, size=lanes).astype(np.float32) for _ in "abc"]
    if name == "exp2_biased":
        return [(rng.integers(-127, 129, lanes) + bias(DType.F32)).astype(np.float32)]
    if name in ("exponent", "significand", "sqrt"):
        return [np.exp2(rng.uniform(-126, 127, lanes)).astype(np.float32)]
    if name not in ("sum", "fma"):
        vectors[0][:4] = [np.inf, -np.inf, -0.0, 2.5]
        vectors[1][-2:] = vectors[0][-2:]
    if name in ("max", "min"):
        vectors[0][0], vectors[1][1] = np.nan, np.nan
    return vectors


@pytest.mark.parametrize("name", VECTOR_PRIMITIVES)
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("isa", ISAS)
def test_primitive(isa: str, compiler: str, name: str, folders: dict[tuple[str, str], Path]) -> None:
    if isa not in HERE:
        pytest.skip(f"this machine lacks {isa}")
    lanes = parse(f"native+{isa}").lanes
    function = getattr(library(isa, compiler, folders[isa, compiler]), f"call_{name}")
    primitive = VECTOR_PRIMITIVES[name]
    counted = any(parameter == "n" and kind.strip() == "int32_t" for kind, parameter in primitive.parameters)
    for n in range(1, lanes) if counted else [lanes]:
        given = operands(name, lanes)
        out = np.full(lanes + 1, -1, np.float32)
        pointers = [v[: n if name == "load_n" else None].ctypes.data_as(ctypes.c_void_p) for v in [*given, *given][:3]]
        function(*(pointers + [None] * 3)[:3], ctypes.c_int32(n), out.ctypes.data_as(ctypes.c_void_p))
        assert out[lanes] == -1
        arguments, sources = [], iter(given)
        for kind, parameter in primitive.parameters:
            if parameter == "p" and primitive.result == "void":
                arguments.append(np.full(lanes, -1, np.float32))
            elif kind.strip() == "int32_t":
                arguments.append(n)
            else:
                value = next(sources)
                arguments.append({"es_m": value > 0, "float": value[0]}.get(kind.strip(), value))
        meaning = np.asarray(primitive.numpy(*arguments), np.float32)
        want = np.broadcast_to(meaning[:lanes] if meaning.ndim else meaning, lanes)
        if primitive.result == "float":
            np.testing.assert_allclose(out[0], want[0], rtol=lanes * 2.0**-24 * 8)
        elif name == "fma":
            # Without a fused instruction the product is rounded first.
            error = 2.0**-23 * (abs(given[0] * given[1]) + abs(given[2]))
            assert (abs(out[:lanes] - want) <= error).all()
        else:
            np.testing.assert_array_equal(out[:lanes], want)
            np.testing.assert_array_equal(np.signbit(out[:lanes]), np.signbit(want))


def test_tables_name_known_primitives() -> None:
    for isa in ISAS.values():
        assert set(isa.instr) <= set(VECTOR_PRIMITIVES)
        assert isa.vector_bits % 128 == 0
