"""Boards without an operating system that QEMU emulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesmith.target.target import Target

__all__ = ["Board", "board_of"]

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Board:
    """A board as QEMU names it, with the memory that a program is linked into.

    Addresses are from Arm's application notes of the boards (DAI 0386, 0400, 0505, 0547) and the nRF51 series reference
    manual. Processors start from the vector table at the beginning of the code.
    """

    machine: str
    processor: str
    code: int
    code_bytes: int
    ram: int
    ram_bytes: int

    @property
    def linker_script(self) -> str:
        """Lays out a program: vectors, code and constants, data, stack and the rest of memory as a heap."""
        return f"""ENTRY(start)

MEMORY
{{
    code (rx) : ORIGIN = {self.code:#010x}, LENGTH = {self.code_bytes}
    ram (rwx) : ORIGIN = {self.ram:#010x}, LENGTH = {self.ram_bytes}
}}

SECTIONS
{{
    .text :
    {{
        KEEP(*(.vectors))
        *(.text .text.* .rodata .rodata.*)
        . = ALIGN(8);
    }} > code
    .ARM.exidx : {{ *(.ARM.exidx .ARM.exidx.*) }} > code
    es_data_source = LOADADDR(.data);
    .data :
    {{
        es_data = .;
        *(.data .data.*)
        . = ALIGN(8);
        es_data_end = .;
    }} > ram AT > code
    .bss (NOLOAD) :
    {{
        *(.bss .bss.* COMMON)
        . = ALIGN(8);
        es_bss_end = .;
        . = . + {STACK_BYTES};
        es_stack = .;
        es_heap = .;
    }} > ram
    es_heap_end = ORIGIN(ram) + LENGTH(ram);
}}
"""


STACK_BYTES = 4 * KIB
"""Far more than any kernel takes."""

BOARDS = (
    Board("mps2-an385", "cortex-m3", 0x0000_0000, 4 * MIB, 0x2000_0000, 4 * MIB),
    Board("mps2-an386", "cortex-m4", 0x0000_0000, 4 * MIB, 0x2000_0000, 4 * MIB),
    Board("mps2-an500", "cortex-m7", 0x0000_0000, 4 * MIB, 0x2000_0000, 4 * MIB),
    Board("mps2-an505", "cortex-m33", 0x1000_0000, 4 * MIB, 0x3800_0000, 4 * MIB),
    Board("mps3-an547", "cortex-m55", 0x0000_0000, 512 * KIB, 0x2100_0000, 4 * MIB),
)
_SUBSTITUTES = {"cortex-m0": "cortex-m3", "cortex-m0plus": "cortex-m3"}
"""Processors with all instructions of one that no board with memory for networks has."""


def board_of(target: Target) -> Board | None:
    """The board on which programs of a target are tested; None where QEMU has none with its processor."""
    wanted = _SUBSTITUTES.get(target.cpu, target.cpu)
    return next((b for b in BOARDS if b.processor == wanted), None)
