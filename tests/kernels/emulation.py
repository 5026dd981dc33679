"""Instruction sets that this machine lacks: the intrinsics of SIMDe, and tiles in plain C, stand in for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesmith.target import Target, parse
from edgesmith.target.isa import ISAS

SIMDE = Path("/usr/include/simde")

needs_emulation = [
    pytest.mark.toolchain,
    pytest.mark.skipif(not SIMDE.is_dir(), reason="SIMDe is not installed (apt install libsimde-dev)"),
    pytest.mark.skipif("avx2" not in parse("native").isas, reason="needs AVX2 to emulate on"),
]


class Emulated(Target):
    """A target whose code is compiled for AVX2."""

    @property
    def features(self) -> tuple[str, ...]:
        return ISAS["avx2"].features


def emulated(isa: str) -> Emulated:
    """This machine with an instruction set, whether it has it or not."""
    host = parse("native")
    return Emulated(host.triple, parse(f"{host.triple}+{isa}").isas, host.cores, host.l1_bytes, host.l2_bytes)


def write_headers(folder: Path) -> Path:
    """Fill a folder with SIMDe alone, and with the headers that put it in the place of the compiler's."""
    (folder / "simde").symlink_to(SIMDE)
    for header in (Path(__file__).parent / "emulated").glob("*.h"):
        (folder / header.name).write_text(header.read_text())
    return folder
