"""Processors that this machine is not and that are emulated."""

from __future__ import annotations

from dataclasses import replace

from edgesmith.device import emulated
from edgesmith.errors import TargetError
from edgesmith.target import Target, parse
from edgesmith.target.isa import ISAS

__all__ = ["FOREIGN", "foreign_target", "missing_emulator"]

TRIPLES = {
    "aarch64": "aarch64-linux-gnu",
    "arm": "arm-linux-gnueabihf",
    "riscv64": "riscv64-linux-gnu",
    "wasm32": "wasm32-wasi",
}
STAND_IN = Target("arm-linux-gnueabihf", cpu="cortex-a7")
"""A Linux processor with the instructions of Cortex-M4 and its FPU."""
MICROCONTROLLERS = ("armv6m", "fpv4")
"""The second has all instructions of `dsp`."""
FOREIGN = (*(name for name, isa in ISAS.items() if isa.arch in TRIPLES), *MICROCONTROLLERS)
"""Instruction sets whose code QEMU or wasmtime runs here."""


def foreign_target(isa: str) -> Target:
    """A target with one of the ``FOREIGN`` instruction sets."""
    if isa in MICROCONTROLLERS:
        return replace(STAND_IN, isas=parse(f"thumb-freestanding-eabi+{isa}").isas)
    return parse(f"{TRIPLES[ISAS[isa].arch]}+{isa}")


def missing_emulator(isa: str) -> str:
    """Why code for an instruction set cannot be run here; empty where it can."""
    try:
        emulated(foreign_target(isa))
    except TargetError as error:
        return str(error).replace("\n", ";")
    return ""
