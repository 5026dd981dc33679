"""Fixed-width SIMD of WebAssembly: every browser of today, wasmtime, Node.

Instructions: WebAssembly Core Specification 2.0, "Vector Instructions". ``max`` and ``min`` of the vector layer are
``pmax`` and ``pmin`` with exchanged operands. Processors have no instruction that converts floats as WebAssembly
demands (saturated, NaN to 0); floats that are to become bytes are limited and then added to a number whose unit in the
last place is 1, which leaves them in the low bits.
"""

from edgesmith.target.isa import ISAS, Isa

MAGIC = 12582912.0
"""1.5 * 2**23."""
MAGIC_BITS = 0x4B400000


def _limited(vector: int, x: int, low: int, high: int) -> str:
    """A vector of floats as i32, limited and rounded, plus the number ``x``; NaN becomes the lowest."""
    bounds = [f"wasm_f32x4_splat((float)({bound} - {{{x}}}))" for bound in (low, high)]
    limited = f"wasm_f32x4_pmin({bounds[1]}, wasm_f32x4_pmax({bounds[0]}, {{{vector}}}))"
    bits = f"wasm_f32x4_add({limited}, wasm_f32x4_splat({MAGIC}f))"
    return f"wasm_i32x4_sub({bits}, wasm_i32x4_splat({MAGIC_BITS:#x} - {{{x}}}))"


def _narrowed(kind: str, low: str, high: str) -> str:
    return f"wasm_{kind}x16_narrow_i16x8({low}, {high})"


def _rounded(kind: str, low: int, high: int) -> dict[str, str]:
    """Stores of floats as bytes; they are in the bytes' range when narrowed."""
    one = f"wasm_i16x8_narrow_i32x4({_limited(1, 2, low, high)}, wasm_i32x4_splat(0))"
    a, b, c, d = (_limited(vector, 5, low, high) for vector in range(1, 5))
    pairs = (f"wasm_i16x8_narrow_i32x4({a}, {b})", f"wasm_i16x8_narrow_i32x4({c}, {d})")
    return {
        f"round_{kind}": f"wasm_v128_store32_lane({{0}}, {_narrowed(kind, one, 'wasm_i16x8_splat(0)')}, 0)",
        f"round_{kind}_4": f"wasm_v128_store({{0}}, {_narrowed(kind, *pairs)})",
    }


_BYTES = "wasm_v128_load32_zero({%d})"
_ZIPPED = f"wasm_i8x16_shuffle({_BYTES % 0}, {_BYTES % 1}, 0, 16, 1, 17, 2, 18, 3, 19, 0, 0, 0, 0, 0, 0, 0, 0)"

SIMD128 = ISAS.register("simd128")(
    Isa(
        name="simd128",
        arch="wasm32",
        vector_bits=128,
        registers=16,
        features=("simd128",),
        condition="defined(__wasm_simd128__)",
        header="wasm_simd128.h",
        instr={
            "zip_u8": f"wasm_u16x8_extend_low_u8x16({_ZIPPED})",
            "zip_i8": f"wasm_i16x8_extend_low_i8x16({_ZIPPED})",
            "shuffle16": "wasm_i8x16_swizzle(wasm_v128_load({0}), wasm_v128_and({1}, wasm_u8x16_splat(0x8f)))",
            "minus16": "wasm_i8x16_sub_sat({0}, wasm_i8x16_splat(16))",
            "dot2": "wasm_i32x4_add({0}, wasm_i32x4_dot_i16x8({1}, {2}))",
            "max": "wasm_f32x4_pmax({1}, {0})",
            "min": "wasm_f32x4_pmin({1}, {0})",
            "abs": "wasm_f32x4_abs({0})",
            "sqrt": "wasm_f32x4_sqrt({0})",
            "floor": "wasm_f32x4_floor({0})",
            "ceil": "wasm_f32x4_ceil({0})",
            "rint": "wasm_f32x4_nearest({0})",
            "select": "wasm_v128_bitselect({1}, {2}, {0})",
            "first": "wasm_i32x4_lt(wasm_i32x4_const(0, 1, 2, 3), wasm_i32x4_splat({0}))",
            **_rounded("u8", 0, 255),
            **_rounded("i8", -128, 127),
        },
    )
)
