"""V, the vector extension of RISC-V, in parts of 256 bits, on processors with registers as long (Zvl256b)."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.isa.rvv128 import RVV128, rounded_4, sums_in_16_bits, vectors_in_registers

RVV256 = ISAS.register("rvv256")(
    Isa(
        name="rvv256",
        arch="riscv64",
        vector_bits=256,
        registers=32,
        features=("zvl256b",),
        march=f"{RVV128.march}_zvl256b",
        condition=f"{RVV128.condition} && __riscv_v_min_vlen >= 256",
        preamble=vectors_in_registers(256),
        implies=("rvv128",),
        cpuinfo=("zvl256b", *RVV128.cpuinfo),
        detect=("es_vector_bytes() >= 32",),
        emulator_cpu="rv64,v=true,vlen=256,vext_spec=v1.0",
        instr={**RVV128.instr, **sums_in_16_bits(8), **rounded_4(8), "first": "(es_m){{0, 1, 2, 3, 4, 5, 6, 7}} < {0}"},
    )
)
