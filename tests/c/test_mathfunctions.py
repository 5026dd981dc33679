"""The errors that the mathematical functions state, measured over all exponents in scalar and in vector C."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from edgesmith.c.mathfunctions import FUNCTIONS, definitions
from edgesmith.c.vector import header
from edgesmith.errors import TargetError
from edgesmith.ir import DType
from edgesmith.target import Target, parse
from edgesmith.toolchain import zig
from edgesmith.toolchain.compiler import FLAGS, Compiler, system

pytestmark = pytest.mark.toolchain

Real = Callable[..., np.ndarray]

REAL: dict[str, Real] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "pow": np.power,
}
STATED_ULP = {"exp": 1.25, "log": 1, "expm1": 2, "log1p": 1.5, "sigmoid": 2.5, "softplus": 2.5, "tanh": 1.5, "erf": 2.5}
THROUGH_F64_ULP = 0.51
F32 = [name for name, f in FUNCTIONS.items() if f.dtype is DType.F32]
F64 = [name for name, f in FUNCTIONS.items() if f.dtype is DType.F64 and f.full_precision]
F64_ULP = {"exp_f64": 1.5, "log_f64": 1}
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0], np.float32)
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def all_exponents(count: int) -> np.ndarray:
    """About ``count`` f32 values evenly spread over all bit patterns, without NaN, and the special ones."""
    bits = np.arange(0, 2**32, 2**32 // count | 1, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    return np.concatenate([values[~np.isnan(values)], SPECIAL])


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance in units in the last place of f32; 0 where both are NaN or the same infinity."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        spacing = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, LARGEST)).astype(np.float32))
        distance = np.abs(got.astype(np.float64) - exact) / spacing
    same = (np.isnan(got) & np.isnan(exact)) | (got == rounded)
    return np.where(same & ~np.isfinite(rounded), 0.0, np.where(np.isnan(distance), np.inf, distance))


class Compiled:
    """A shared library with a loop around the scalar and the vector form of each function."""

    def __init__(self, folder: Path, target: Target, compiler: Compiler) -> None:
        forms = ["f32", *(["v"] if target.isa else [])]
        text = header(target) + definitions(list(FUNCTIONS), vector=target.isa is not None)
        for name in F32:
            arity = FUNCTIONS[name].arity
            for form in forms:
                vector = form == "v"
                arguments = ", ".join(f"es_load({a} + i)" if vector else f"{a}[i]" for a in FUNCTIONS[name].arguments)
                call = f"es_{name}_{form}({arguments})"
                store = f"es_store(r + i, {call})" if vector else f"r[i] = {call}"
                inputs = ", ".join(f"const float *{a}" for a in ("x", "y")[:arity])
                text += (
                    f"void {name}_{form}({inputs}, float *r, int32_t n);\n"
                    f"void {name}_{form}({inputs}, float *r, int32_t n) {{\n"
                    f"    for (int32_t i = 0; i < n; i += {'ES_LANES' if vector else '1'}) {{ {store}; }}\n}}\n"
                )
        for name in F64:
            text += (
                f"void {name}(const double *x, double *r, int32_t n);\n"
                f"void {name}(const double *x, double *r, int32_t n) {{\n"
                f"    for (int32_t i = 0; i < n; ++i) {{ r[i] = es_{name}(x[i]); }}\n}}\n"
            )
        (folder / "functions.c").write_text(text)
        flags = [f for f in FLAGS if f not in ("-fvisibility=hidden", "-std=gnu99")]
        standard = "-std=gnu99" if target.isa else "-std=c99"
        compiler.run(
            [*compiler.flags(target), *flags, standard, "-Werror", "-shared", "functions.c", "-o", "f.so", "-lm"],
            cwd=folder,
        )
        self.forms = forms
        self.library = ctypes.CDLL(str(folder / "f.so"))

    def __call__(self, name: str, form: str, *inputs: np.ndarray) -> np.ndarray:
        n = inputs[0].size
        padded = [np.ascontiguousarray(np.concatenate([x, np.zeros(16, np.float32)])) for x in inputs]
        result = np.empty(n + 16, np.float32)
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*padded, result)]
        self.library[f"{name}_{form}"](*pointers, ctypes.c_int32(n))
        return result[:n]

    def in_f64(self, name: str, x: np.ndarray) -> np.ndarray:
        result = np.empty_like(x)
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (x, result)]
        self.library[name](*pointers, ctypes.c_int32(x.size))
        return result


@pytest.fixture(
    scope="module", params=["portable/gcc", "portable/zig", "native+sse2/zig", "native+avx2/zig", "native+avx512/gcc"]
)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    name, _, compiler = request.param.partition("/")
    try:
        target = parse(name)
    except TargetError as error:
        pytest.skip(str(error))
    return Compiled(tmp_path_factory.mktemp("functions"), target, zig() if compiler == "zig" else system(compiler))


@pytest.fixture(scope="module")
def sample() -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """For each function of one argument: inputs and the real values."""
    x = all_exponents(300_000)
    near = np.random.default_rng(0).uniform(-20, 20, 100_000).astype(np.float32)
    x = np.concatenate([x, near])
    with np.errstate(all="ignore"):
        return {name: (x, REAL[name](x.astype(np.float64))) for name in F32 if FUNCTIONS[name].arity == 1}


@pytest.mark.parametrize("name", [n for n in F32 if FUNCTIONS[n].arity == 1])
def test_error_is_as_stated(name: str, compiled: Compiled, sample: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    x, exact = sample[name]
    limit = STATED_ULP.get(name, THROUGH_F64_ULP)
    for form in compiled.forms:
        error = ulps(compiled(name, form, x), exact)
        if name in ("sigmoid", "softplus"):
            error[x < -87.33] = 0  # stated: maybe 0 instead of a denormal
        worst = int(error.argmax())
        assert error[worst] <= limit, f"{name}_{form}({x[worst]!r}) is off by {error[worst]:.2f} ULP"


def test_erf_has_a_small_absolute_error(
    compiled: Compiled, sample: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    x, exact = sample["erf"]
    for form in compiled.forms:
        assert np.nanmax(np.abs(compiled("erf", form, x) - exact)) <= 2e-7


def test_sigmoid_at_the_ends(compiled: Compiled) -> None:
    denormal = np.linspace(-88.8, -87.34, 1000, dtype=np.float32)
    below = -np.geomspace(88.8, LARGEST, 1000).astype(np.float32)
    ends = np.array([0.0, np.inf, -np.inf, np.nan, LARGEST], np.float32)
    for form in compiled.forms:
        results = compiled("sigmoid", form, denormal)
        assert (results >= 0).all() and (results < SMALLEST).all()
        assert not compiled("sigmoid", form, below).any()
        np.testing.assert_array_equal(compiled("sigmoid", form, ends), [0.5, 1.0, 0.0, np.nan, 1.0])


def test_pow_over_the_plane(compiled: Compiled) -> None:
    rng = np.random.default_rng(1)
    x = all_exponents(60_000)
    wanted = rng.uniform(-150, 128, x.size)
    with np.errstate(all="ignore"):
        y = (wanted / np.log2(np.abs(x.astype(np.float64)))).astype(np.float32)
    whole = rng.integers(-9, 10, x.size).astype(np.float32)
    near_one = rng.uniform(0.5, 2, x.size).astype(np.float32)
    grid_x, grid_y = (g.reshape(-1) for g in np.meshgrid(SPECIAL, SPECIAL))
    xs = np.concatenate([x, x, near_one, grid_x])
    ys = np.concatenate([y, whole, rng.uniform(-300, 300, x.size).astype(np.float32), grid_y])
    with np.errstate(all="ignore"):
        exact = np.power(xs.astype(np.float64), ys.astype(np.float64))
    for form in compiled.forms:
        got = compiled("pow", form, xs, ys)
        error = ulps(got, exact)
        worst = int(error.argmax())
        assert error[worst] <= THROUGH_F64_ULP, f"pow({xs[worst]!r}, {ys[worst]!r}): {error[worst]:.2f} ULP"
        zero = exact.astype(np.float32) == 0
        assert np.array_equal(np.signbit(got[zero]), np.signbit(exact[zero]))


@pytest.mark.parametrize("name", ["sin", "tan", "asin", "atan", "sinh", "tanh", "erf", "asinh", "atanh", "expm1"])
def test_odd_functions_keep_the_sign_of_zero(name: str, compiled: Compiled) -> None:
    for form in compiled.forms:
        got = compiled(name, form, np.array([0.0, -0.0], np.float32))
        assert got.tolist() == [0.0, 0.0] and np.signbit(got).tolist() == [False, True]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no type wider than f64 to compare with")
@pytest.mark.parametrize("name", F64)
def test_error_in_f64_is_as_stated(name: str, compiled: Compiled) -> None:
    bits = np.arange(0, 2**64, 2**64 // 400_000 | 1, dtype=object).astype(np.uint64)
    near = np.random.default_rng(2).uniform(-745, 709, 200_000)
    specials = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 709.9, -746.0])
    x = np.concatenate([bits.view(np.float64), near, 1 + near / 1000, specials])
    with np.errstate(all="ignore"):
        exact = REAL[name.removesuffix("_f64")](x.astype(np.longdouble))
        rounded = exact.astype(np.float64)
        got = compiled.in_f64(name, x)
        finite = np.isfinite(rounded)
        error = np.abs(got[finite] - exact[finite]) / np.spacing(np.abs(rounded[finite]))
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    assert error.max() <= F64_ULP[name], f"{name}({x[finite][error.argmax()]!r}) is off by {error.max():.2f} ULP"


def test_every_function_is_measured() -> None:
    assert set(F32) == set(REAL)
    assert set(F64) == set(F64_ULP)
