"""How to add an instruction set.

An instruction set is a table: one file in ``src/edgesmith/target/isa/`` with its name, the width and number of its
vector registers, the compiler's feature names, the flags by which ``/proc/cpuinfo`` shows that a machine has it, the
sets that it contains, and C templates for those primitives of the vector layer that it has an instruction for. What the
table leaves out falls back to GNU vector extensions, so a table with the width alone already works; each entry makes
something faster. Kernels ask for lanes, registers and primitives, never for a name, so all of them use the new set at
once. ``tests/target/test_isa.py`` checks every primitive of every set against its meaning in numpy, and
``tests/kernels`` runs all kernels on it.

A set that multiplies matrices in registers of their own also fills the table of the tile layer (``c/tiles.py``), and
one that the system grants to each process by itself says how to ask (``Permission``); ``amx.py`` does both. Kernels for
such a set compute the same without it where it is refused.

A set of another architecture names the processor with which QEMU runs it (``emulator_cpu``); ``neon.py`` is one. Where
the compiler chooses instructions well, a table needs no intrinsics; ``rvv128.py`` has none. A
device is described by one TOML file in ``src/edgesmith/target/profiles/``.

This guide runs: it adds a set of 128-bit vectors with fused multiply-adds, and compiles a network for it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import edgesmith
from edgesmith import zoo
from edgesmith.target import ISAS, Isa, parse

ISAS.register("fma128")(
    Isa(
        name="fma128",
        arch="x86_64",
        vector_bits=128,
        registers=16,
        features=("avx", "fma"),
        implies=("sse2",),
        header="immintrin.h",
        cpuinfo=("avx", "fma"),
        instr={
            "fma": "_mm_fmadd_ps({0}, {1}, {2})",
            "max": "_mm_max_ps({0}, {1})",
            "min": "_mm_min_ps({0}, {1})",
            "sqrt": "_mm_sqrt_ps({0})",
        },
    )
)


def main() -> None:
    here = parse("native").isas
    print("this machine has", ", ".join(here) or "no instruction set that is known")
    if "fma128" not in here:
        print("not fma128: the rest of this guide needs it")
        return
    target = parse("native+fma128")
    assert target.isas == ("sse2", "fma128")
    assert (target.lanes, target.has("fma"), target.has("floor")) == (4, True, False)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "lenet"
        artifact = edgesmith.compile(zoo.build("lenet-5"), target="native+fma128", output=place, cache=False)
        header = (place / "src" / "es_simd.h").read_text()
        (output,) = (artifact.verification or {})["outputs"]
    assert "_mm_fmadd_ps" in header
    print(f"compiled for {artifact.manifest['target']}: {len(artifact.manifest['steps'])} steps")
    print(f"agrees with ONNX Runtime: error {output['error']:.1e}, tolerance {output['tolerance']:.1e}")


if __name__ == "__main__":
    main()
