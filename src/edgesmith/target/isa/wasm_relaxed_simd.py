"""Relaxed SIMD of WebAssembly: multiply-adds that are fused where the processor fuses them.

Specification: WebAssembly Core Specification 3.0, "Relaxed Operations". Whether they are fused differs from engine to
engine, and last bits of floats with it. Its dot product of bytes is not used: of unsigned bytes above 127 it gives what
the processor's instruction happens to give.
"""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.wasm_simd128 import SIMD128

RELAXED_SIMD = ISAS.register("relaxed_simd")(
    Isa(
        name="relaxed_simd",
        arch="wasm32",
        vector_bits=128,
        registers=16,
        features=("relaxed_simd",),
        condition="defined(__wasm_relaxed_simd__)",
        implies=("simd128",),
        header="wasm_simd128.h",
        instr={**SIMD128.instr, "fma": "wasm_f32x4_relaxed_madd({0}, {1}, {2})"},
    )
)
