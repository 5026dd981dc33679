"""The plugin counts programs whose instructions are known."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgesmith.counting import Counts, count
from edgesmith.counting.plugin import CLOSE
from edgesmith.errors import ArtifactError, DeviceError
from edgesmith.toolchain import zig

pytestmark = pytest.mark.toolchain

ROUNDS = 1000


@dataclass(frozen=True)
class Machine:
    """How a program for an architecture is written.

    Args:
        call: assembly of a system call with a number and an argument.
        start, loop: assembly of a counter's start, and of its rounds of two instructions.
        leave: number of the system call for an exit.
    """

    triple: str
    cpu: str
    options: tuple[str, ...]
    call: str
    start: str
    loop: str
    leave: int


MACHINES = {
    "aarch64": Machine(
        "aarch64-linux-musl",
        "cortex-a72",
        (),
        "mov x8, #{0}; ldr x0, ={1}; svc #0",
        "mov x1, #{0}",
        "1: subs x1, x1, #1; b.ne 1b",
        93,
    ),
    "riscv64": Machine(
        "riscv64-linux-musl",
        "rv64",
        ("-mcpu=baseline_rv64",),
        "li a7, {0}; li a0, {1}; ecall",
        "li t0, {0}",
        "1: addi t0, t0, -1; bnez t0, 1b",
        93,
    ),
    "arm": Machine(
        "arm-linux-musleabihf",
        "cortex-a15",
        ("-mcpu=cortex_a15",),
        "mov r7, #{0}; ldr r0, ={1}; svc #0",
        "movw r1, #{0}",
        "1: subs r1, r1, #1; bne 1b",
        1,
    ),
}


def _program(arch: str, folder: Path, exit_status: int = 0) -> tuple[list[str], list[str]]:
    """Command of the emulator and a program: in region 1, 1 instruction, a loop of 2 x ROUNDS, and the mark's."""
    m = MACHINES[arch]
    mark, end = (m.call.format(CLOSE[arch], -2000000 - n) for n in (1, 0))
    leave = m.call.format(m.leave, exit_status)
    text = f".globl _start\n_start: {mark}\n{m.start.format(ROUNDS)}\n{m.loop}\n{end}\n{leave}\n"
    (folder / "known.S").write_text(text.replace("; ", "\n"))
    options = ["-target", m.triple, *m.options, "-nostdlib", "-static", "known.S", "-o", "known"]
    zig().run(options, cwd=folder)
    qemu = shutil.which(f"qemu-{arch}")
    if qemu is None:
        pytest.skip(f"qemu-{arch} is not installed")
    return [qemu, "-cpu", m.cpu], [str(folder / "known")]


@pytest.mark.parametrize("arch", MACHINES)
def test_counts_are_exact(arch: str, tmp_path: Path) -> None:
    counts, _ = count(*_program(arch, tmp_path), arch)
    blocks = counts.of(1)
    assert max(blocks.values()) == ROUNDS - 1  # the first round belongs to the block that leads into the loop
    mark, leave = (4, 3) if arch == "riscv64" else (3, 3)  # RISC-V makes the descriptor in two instructions
    assert counts.instructions(1) == 1 + 2 * ROUNDS + mark
    assert counts.instructions(0) == mark + leave
    assert counts.total == sum(b.instructions * n for r in counts.regions for b, n in counts.of(r).items())
    assert counts.instructions(7) == 0
    assert all(len(b.code) == b.end - b.address and b.code for b in counts.blocks)


def test_a_program_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="exit status 3 under"):
        count(*_program("aarch64", tmp_path, exit_status=3), "aarch64")


def test_an_emulator_without_plugins_is_named(tmp_path: Path) -> None:
    fake = tmp_path / "qemu-aarch64"
    fake.write_text("#!/bin/sh\necho -cpu\n")
    fake.chmod(0o755)
    with pytest.raises(DeviceError, match="takes no plugins"):
        count([str(fake)], ["program"], "aarch64")


def test_half_a_file_is_refused() -> None:
    text = "b 4000 2 0102030405060708\nc 1 0 7\nend\n"
    counts = Counts.parse(text)
    assert counts.instructions(1) == counts.total == 14 and counts.of(1) == {counts.blocks[0]: 7}
    with pytest.raises(ValueError, match="end early"):
        Counts.parse(text.removesuffix("end\n"))
