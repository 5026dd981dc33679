"""Kernels on processors that this machine is not, under QEMU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgesmith.c.vector import header
from edgesmith.counting.calls import ForeignFunctions
from edgesmith.kernels import KERNELS
from edgesmith.ops.integer_products import IntegerProduct
from edgesmith.target import Target
from edgesmith.target.isa import ISAS
from edgesmith.tune.modelled import foreign_call
from edgesmith.tune.trial import Call, sources
from foreign import FOREIGN, foreign_target, missing_emulator

from .problems import Check, checks, failures, operator_cases

CHECKS_OF_A_KERNEL = 5
CHECKS_OF_INTEGERS = 10
FEWER = {"riscv64": 5, "wasm32": 5, "thumb": 20}
"""How many times fewer on architectures whose instructions compilers choose, mostly, and not the kernels."""
TESTED_BY_OTHERS = ("rvv256", "relaxed_simd", "fp16")

pytestmark = pytest.mark.toolchain


class ForeignTrials:
    """What the trials of checks give, whole and task by task; all of them run in one program.

    Args:
        folder: an empty one.
    """

    def __init__(self, todo: Sequence[Check], target: Target, folder: Path, flags: Sequence[str] = ("-O1",)) -> None:
        trials = [c.trial for c in todo]
        names = [(f"trial_{i}", bool(t.code.prepared_bytes)) for i, t in enumerate(trials)]
        # Mostly -O1 does: what compilers may do wrong at -O3 is the subject of few tests.
        program = ForeignFunctions(sources(trials, target), names, header(target), target, folder, tuple(flags))
        self._calls = {(i, apart): Call(c.trial, c.feeds, None) for i, c in enumerate(todo) for apart in (False, True)}
        program.run([foreign_call(call, trials[i], i, apart) for (i, apart), call in self._calls.items()])

    def run(self, index: int, feeds: Mapping[str, np.ndarray], *, apart: bool = False) -> dict[str, np.ndarray]:
        """As ``TrialLibrary.run``, for the checks' own feeds."""
        return self._calls[index, apart].outputs()


def sample(isa: str, target: Target) -> list[Check]:
    """Some checks of every kernel, spread over its cases; of a set that implies another, those of integers alone."""
    found: dict[str, list[Check]] = defaultdict(list)
    all_kinds = not set(ISAS[isa].implies) & set(FOREIGN)
    cases = [(n, c) for n, c in operator_cases() if all_kinds or isinstance(c.op, IntegerProduct)]
    kernels = () if all_kinds else [name for name in KERNELS if name.startswith("integer")]
    for name, case in cases:
        for check in checks(case, name, target, kernels):
            found[check.trial.kernel.name].append(check)
    chosen = []
    for name, all_of_one in found.items():
        most = CHECKS_OF_INTEGERS if name.startswith("integer") else CHECKS_OF_A_KERNEL
        wanted = -(-most // FEWER.get(ISAS[isa].arch, 1))
        chosen += all_of_one[:: max(1, len(all_of_one) // wanted)][:wanted]
    return chosen


@pytest.mark.parametrize("isa", [name for name in FOREIGN if name not in TESTED_BY_OTHERS])
def test_kernels_agree_with_the_reference(isa: str, tmp_path: Path) -> None:
    if missing := missing_emulator(isa):
        pytest.skip(missing)
    target = foreign_target(isa)
    todo = sample(isa, target)
    wrong = failures(todo, ForeignTrials(todo, target, tmp_path))
    assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])
