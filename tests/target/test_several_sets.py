"""Instruction sets among which a program picks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgesmith.errors import TargetError
from edgesmith.target import ISAS, baseline_of, parse, variants

X86, ARM, RISCV = "x86_64-linux-gnu", "aarch64-linux-gnu", "riscv64-linux-gnu"


@pytest.mark.parametrize(
    ("target", "names", "order"),
    [
        (X86, ["sse2", "avx512", "avx2"], ["avx512", "avx2", "sse2"]),
        (X86, ["portable", "sse4", "amx"], ["amx", "sse4", "portable"]),
        (ARM, ["neon", "dotprod", "i8mm"], ["i8mm", "dotprod", "neon"]),
        ("raspberry-pi-5", ["neon", "dotprod"], ["dotprod", "neon"]),
        ("aarch64-macos", ["neon", "i8mm"], ["i8mm", "neon"]),
        ("x86_64-windows-gnu", ["sse2", "avx2"], ["avx2", "sse2"]),
        (RISCV, ["portable", "rvv128", "rvv256"], ["rvv256", "rvv128", "portable"]),
        ("portable", ["portable"], ["portable"]),
    ],
)
def test_the_best_comes_first(target: str, names: Sequence[str], order: Sequence[str]) -> None:
    found = variants(target, names)
    assert [t.variant for t in found] == order == [t.variant for t in variants(target, names[::-1])]
    assert {t.triple for t in found} == {parse(target).triple}


def test_compilers_are_told_no_processor() -> None:
    """It would have more than the set, which other devices lack."""
    assert parse("raspberry-pi-5").cpu == "cortex-a76"
    found = variants("raspberry-pi-5", ["neon", "dotprod"])
    assert {t.cpu for t in found} == {""} and {t.device for t in found} == {"raspberry-pi-5"}
    plain = baseline_of(found[0])
    assert (plain.isas, plain.cpu, plain.l2_bytes) == (("neon",), "", found[0].l2_bytes)


@pytest.mark.parametrize(
    ("target", "names", "message"),
    [
        (X86, ["sse9"], "unknown instruction set 'sse9'"),
        (X86, ["avx2", "neon"], "'neon' belongs to aarch64"),
        (X86, ["avx2", "avx2"], "named twice"),
        (f"{X86}+avx2", ["avx2"], "names an instruction set already"),
        ("raspberry-pi-4", ["neon", "dotprod"], "raspberry-pi-4 lacks dotprod"),
        ("stm32f746", ["portable"], "cannot ask what the processor has"),
        ("wasm32-wasi", ["portable", "simd128"], "engines refuse a whole module"),
    ],
)
def test_what_makes_no_sense(target: str, names: Sequence[str], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        variants(target, names)


def test_every_set_for_linux_can_be_detected_or_is_everywhere() -> None:
    for name, isa in ISAS.items():
        if isa.arch in ("x86_64", "aarch64", "riscv64"):
            assert isa.baseline != bool(isa.detect), name
