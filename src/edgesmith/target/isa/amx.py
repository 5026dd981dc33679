"""AMX: products of tiles of bytes and of bf16, beside AVX-512 VNNI (Sapphire Rapids and later).

Tiles are state that the kernel saves only for processes that asked for it: https://docs.kernel.org/arch/x86/xstate.html.
The bits of CPUID: Intel, Architecture Instruction Set Extensions Programming Reference, leaf 7.
"""

from __future__ import annotations

import ctypes
import os
import sys

from edgesmith.target.isa import ISAS, Isa, Permission
from edgesmith.target.isa.avx512vnni import AVX512VNNI

ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
"""Number of the system call, its request for a state component, and the component."""

AMX_BITS = 1 << 22 | 1 << 24 | 1 << 25
"""AMX-BF16, AMX-TILE and AMX-INT8 in register EDX of leaf 7."""

_ASK = f"""#if defined(__linux__)
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & {AMX_BITS:#x}u) != {AMX_BITS:#x}u) return 0;
    return syscall({ARCH_PRCTL}L, {REQUEST_PERMISSION:#x}L, {TILE_DATA}L) == 0;
#else
    return 0;
#endif"""


def _refusal() -> str | None:
    if sys.platform != "linux":
        return "the system is not Linux, whose permission programs ask for"
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_long(n) for n in (ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA))
    if libc.syscall(*arguments) == 0:
        return None
    return f"the kernel denies its registers to this process ({os.strerror(ctypes.get_errno())})"


AMX = ISAS.register("amx")(
    Isa(
        name="amx",
        arch="x86_64",
        vector_bits=512,
        registers=32,
        features=("amx-tile", "amx-int8", "amx-bf16"),
        implies=("avx512vnni",),
        header="immintrin.h",
        cpuinfo=("amx_tile", "amx_int8", "amx_bf16", *AVX512VNNI.cpuinfo),
        detect=("es_saves(0x60000)",),
        instr=AVX512VNNI.instr,
        tiles={
            "tiles_configure": "_tile_loadconfig({0})",
            "tiles_release": "_tile_release()",
            "tile_zero": "_tile_zero({0})",
            "tile_load": "_tile_loadd({0}, {1}, {2})",
            "tile_store": "_tile_stored({0}, {1}, {2})",
            "tile_dot4": "_tile_dpbusd({0}, {1}, {2})",
            "tile_dot2_bf16": "_tile_dpbf16ps({0}, {1}, {2})",
        },
        permission=Permission(("cpuid.h", "unistd.h"), _ASK, _refusal),
    )
)
