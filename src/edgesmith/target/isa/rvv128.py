"""V, the vector extension of RISC-V, in parts of 128 bits: all that it has at least (Zvl128b).

Registers of V may be longer: instructions take a number of elements, so that a program of four f32 lanes runs alike on
each length. Specification: "V" Standard Extension for Vector Operations, version 1.0 (RISC-V Unprivileged ISA, chapter
31). Clang lowers GNU vectors and its ``__builtin_elementwise`` functions to it; the product of a number in all lanes
becomes ``vfmacc.vf``, which reads that number from a scalar register, that of bytes ``vwmacc.vx``.

Floats become integers without the instructions that truncate (``vfcvt.rtz``), at which QEMU 7.2 aborts: small ones by
the addition of a number whose unit in the last place is 1, which leaves them in the low bits.
"""

from edgesmith.target.isa import ISAS, Isa

_LOW_BITS = "(es_m)(%s + 12582912.0f)"
"""Bits of 1.5 * 2**23 + a number below 2**22: the low ones are those of the number, rounded to the nearest even."""


def _stores(kind: str) -> dict[str, str]:
    """Stores of lanes that hold integers."""
    integers = f"__builtin_convertvector({_LOW_BITS % '{1}'}, es_{kind})"
    return {
        f"store_{kind}": f"*(es_{kind}_unaligned *){{0}} = {integers}",
        f"store_{kind}_n": f"const es_{kind} w = {integers}; memcpy({{0}}, &w, (size_t){{2}} * sizeof(*{{0}}))",
    }


def _rounded(kind: str, low: int, high: int) -> str:
    """A store of floats as bytes, limited before they are rounded; the maximum of NaN and a number is the number."""
    bounds = [f"es_set1((float)({bound} - {{2}}))" for bound in (low, high)]
    limited = f"__builtin_elementwise_min(__builtin_elementwise_max({{1}}, {bounds[0]}), {bounds[1]})"
    integers = f"{_LOW_BITS % limited} + {{2}}"
    return f"*(es_{kind}_unaligned *){{0}} = __builtin_convertvector({integers}, es_{kind})"


def _rounded_4(kind: str, low: int, high: int, lanes: int) -> str:
    """The same of four vectors, which are narrowed together."""
    bounds = [f"es_set1((float)({bound} - {{5}}))" for bound in (low, high)]
    integers = [
        _LOW_BITS % f"__builtin_elementwise_min(__builtin_elementwise_max({{{i}}}, {bounds[0]}), {bounds[1]})"
        for i in range(1, 5)
    ]
    pair = ", ".join(map(str, range(2 * lanes)))
    halves = [f"__builtin_shufflevector({integers[i]}, {integers[i + 1]}, {pair})" for i in (0, 2)]
    joined = f"__builtin_shufflevector({halves[0]}, {halves[1]}, {', '.join(map(str, range(4 * lanes)))})"
    return (
        f"const es_bytes bytes = __builtin_convertvector({joined}, es_bytes) + (uint8_t){{5}}; "
        "memcpy({0}, &bytes, sizeof bytes)"
    )


def rounded_4(lanes: int) -> dict[str, str]:
    limits = {"u8": (0, 255), "i8": (-128, 127)}
    return {f"round_{kind}_4": _rounded_4(kind, *limits[kind], lanes) for kind in limits}


def sums_in_16_bits(lanes: int) -> dict[str, str]:
    """Products and sums of 16-bit numbers (``vmacc``), and what adds them to 32 bits (``vwadd``)."""
    found = {
        "mul_i16": "((es_shorts){0} * (es_shorts){1})",
        "mla_i16": "((es_shorts){0} + (es_shorts){1} * (es_shorts){2})",
    }
    for number, half in enumerate(("low", "high")):
        places = ", ".join(str(number * lanes + i) for i in range(lanes))
        some = f"(es_i16)__builtin_shufflevector((es_shorts){{1}}, (es_shorts){{1}}, {places})"
        found[f"add_i16_{half}"] = f"({{0}} + __builtin_convertvector({some}, es_m))"
    return found


def vectors_in_registers(bits: int) -> str:
    """Functions of the vector layer take and give vectors in vector registers.

    The standard convention passes short ones in integer registers. Inlining spares that, but masks are left there.
    """
    return f"""#if defined(__clang__) && __has_attribute(riscv_vls_cc)
#define inline inline __attribute__((riscv_vls_cc({bits})))
#endif
typedef uint8_t es_bytes __attribute__((vector_size({bits // 8})));
typedef uint16_t es_shorts __attribute__((vector_size({bits // 8})));"""


RVV128 = ISAS.register("rvv128")(
    Isa(
        name="rvv128",
        arch="riscv64",
        vector_bits=128,
        registers=32,
        features=("v",),
        march="rv64gcv",
        condition="defined(__riscv_v)",
        preamble=vectors_in_registers(128),
        cpuinfo=("v",),
        detect=("es_vector_bytes() >= 16",),
        emulator_cpu="rv64,v=true,vlen=128,vext_spec=v1.0",
        instr={
            **sums_in_16_bits(4),
            **rounded_4(4),
            "dot1": "(es_u){0} + (es_u){1} * (es_u){2}",
            "fma": "__builtin_elementwise_fma({0}, {1}, {2})",
            "sqrt": "__builtin_elementwise_sqrt({0})",
            "floor": "__builtin_elementwise_floor({0})",
            "ceil": "__builtin_elementwise_ceil({0})",
            "rint": "__builtin_elementwise_rint({0})",
            "to_i32": "__builtin_convertvector(__builtin_elementwise_rint({0}), es_m)",
            **{name: text for kind in ("u8", "i8", "u16", "i16") for name, text in _stores(kind).items()},
            "round_u8": _rounded("u8", 0, 255),
            "round_i8": _rounded("i8", -128, 127),
            "first": "(es_m){{0, 1, 2, 3}} < {0}",
        },
    )
)
