"""Integers of ARMv6-M (Cortex-M0, M0+): vectors of one lane, floats computed by the compiler's routines."""

from edgesmith.target.isa import ISAS, Isa

SCALAR = {
    "select": "({0}[0] ? {1} : {2})",
    "max": "({0}[0] > {1}[0] ? {0} : {1})",
    "min": "({0}[0] < {1}[0] ? {0} : {1})",
}
"""Choices between numbers rather than between bits."""

ARMV6M = ISAS.register("armv6m")(
    Isa(
        name="armv6m",
        arch="thumb",
        vector_bits=32,
        registers=8,
        baseline=True,
        emulator_cpu="cortex-m0",
        processor="cortex-m0plus",
        instr=SCALAR,
    )
)
