"""The DSP extension of Cortex-M4, M7, M33 and M55: two products of 16-bit numbers in a 32-bit register at once."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.armv6m import ARMV6M

DSP = ISAS.register("dsp")(
    Isa(
        name="dsp",
        arch="thumb",
        vector_bits=32,
        registers=13,
        features=("dsp",),
        implies=("armv6m",),
        header="arm_acle.h",
        emulator_cpu="cortex-m4",
        processor="cortex-m4",
        instr={
            **ARMV6M.instr,
            "dot2": "{{__smlad({1}[0], {2}[0], {0}[0])}}",
            "dot4_i16": "es_dot2(es_dot2({0}, {1}.low, {2}.low), {1}.high, {2}.high)",
            "halves_i8": "{{{{__sxtb16(es_quads_i8({0})[0])}}, {{__sxtb16(__ror(es_quads_i8({0})[0], 8))}}}}",
        },
    )
)
