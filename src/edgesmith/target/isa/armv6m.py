"""Integers of ARMv6-M (Cortex-M0, M0+): vectors of one lane, floats computed by the compiler's routines."""

from edgesmith.target.isa import ISAS, Isa

SCALAR = {
    "select": "({0}[0] ? {1} : {2})",
    "max": "({0}[0] > {1}[0] ? {0} : {1})",
    "min": "({0}[0] < {1}[0] ? {0} : {1})",
}
"""Choices between numbers rather than between bits."""

_NEAREST = (
    "({{ const float number = {1}[0]; uint32_t bits; memcpy(&bits, &number, sizeof bits); "
    "const uint32_t size = bits & 0x7fffffffu, significand = (bits & 0x7fffffu) | 0x800000u, exponent = size >> 23; "
    "const uint32_t shift = exponent < 125 ? 25 : exponent > 150 ? 0 : 150 - exponent, whole = significand >> shift; "
    "const uint32_t rest = shift ? significand << (32 - shift) : 0; "
    "const uint32_t up = rest > 0x80000000u || (rest == 0x80000000u && (whole & 1)); "
    "const int32_t near = exponent > 150 ? 1 << 24 : (int32_t)(whole + up); "
    "(bits >> 31 || size > 0x7f800000u ? -near : near) + {2}; }})"
)
"""The nearest integer, ties to even, by integers: floats of this processor are slow."""


def _rounded(kind: str, low: int, high: int) -> str:
    clamped = f"found < {low} ? {low} : found > {high} ? {high} : found"
    return f"({{{{ const int32_t found = {_NEAREST}; *{{0}} = ({kind})({clamped}); }}}})"


ARMV6M = ISAS.register("armv6m")(
    Isa(
        name="armv6m",
        arch="thumb",
        vector_bits=32,
        registers=8,
        baseline=True,
        emulator_cpu="cortex-m0",
        processor="cortex-m0plus",
        instr={
            **SCALAR,
            "round_i8": _rounded("int8_t", -128, 127),
            "round_u8": _rounded("uint8_t", 0, 255),
        },
    )
)
