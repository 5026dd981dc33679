"""Every kernel computes every case that it accepts, on every instruction set of this machine.

A new kernel or operator case is covered by being registered.
"""

from __future__ import annotations

from functools import cache

import pytest

from edgesmith.kernels import KERNELS
from edgesmith.kernels.conv.chain_kernel import ChainKernel
from edgesmith.ops import OPS
from edgesmith.target import parse
from edgesmith.toolchain.compiler import Compiler, system, zig
from edgesmith.tune.trial import TrialLibrary
from foreign import foreign_target
from instruction_sets import native_sets

from .problems import Check, checks, failures, operator_cases

pytestmark = pytest.mark.toolchain

# Optimised lightly: the meaning is the same and the build is several times faster.
FLAGS = ("-Werror", "-O1")
SAMPLE = 3
"""Every so many checks where the same C text, or most of it, is checked elsewhere."""


FOREIGN_KERNELS = {"integer-depthwise-bytes": "neon", "integer-mean": "fpv4", "integer-planes": "fpv4"}
"""Kernels for other processors, with an instruction set of theirs (``test_foreign.py``)."""


def available_targets() -> list[str]:
    return ["portable", *(f"native+{isa}" for isa in native_sets())]


@cache
def all_checks(target: str) -> tuple[Check, ...]:
    parsed = parse(target)
    return tuple(check for name, case in operator_cases() for check in checks(case, name, parsed))


def build_and_compare(target: str, compiler: Compiler, every: int = 1) -> None:
    todo = all_checks(target)[::every]
    library = TrialLibrary([c.trial for c in todo], parse(target), compiler, FLAGS)
    wrong = failures(todo, library)
    assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("target", available_targets())
def test_kernels_agree_with_the_reference(target: str) -> None:
    """All of plain C and of the widest set, some of the others."""
    build_and_compare(target, zig(), 1 if target in (available_targets()[0], available_targets()[-1]) else SAMPLE)


@pytest.mark.parametrize("target", ["portable", "native"])
def test_code_is_clean_under_gcc(target: str) -> None:
    build_and_compare(target, system("gcc"), SAMPLE)


def test_every_kernel_is_exercised() -> None:
    """On this machine, or emulated (tests of AMX, fp16 and pairs of rows)."""
    used = {c.trial.kernel.name for target in available_targets() for c in all_checks(target)}
    used |= {"integer-amx", "bf16-amx", "half-tiles", "half-depthwise", "integer-pairs"}
    for kernel, isa in FOREIGN_KERNELS.items():
        if any(checks(case, name, foreign_target(isa), [kernel]) for name, case in operator_cases()):
            used.add(kernel)
    of_several_convolutions = {name for name, k in KERNELS.items() if isinstance(k, ChainKernel)}
    assert used == set(KERNELS) - of_several_convolutions


def test_every_operator_has_a_case_with_a_kernel() -> None:
    covered = {c.name.partition("-")[0] for c in all_checks("portable")}
    without = {name for name, op in OPS.items() if name not in covered and any(True for _ in op.cases())}
    assert not without
