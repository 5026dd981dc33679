"""AVX-512 and AMX kernels on machines without these: the intrinsics of SIMDe compute what the instructions would."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from edgesmith.target import Target, parse
from edgesmith.toolchain.compiler import zig
from edgesmith.tune.trial import TrialLibrary

from .emulation import emulated, needs_emulation, write_headers
from .problems import Check, checks, failures, operator_cases

CHECKS_OF_A_KERNEL = 6

pytestmark = needs_emulation


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_headers(tmp_path_factory.mktemp("headers"))


def sample(target: Target) -> list[Check]:
    """Some checks of every kernel, spread over its cases; all of one that multiplies integers."""
    found: dict[str, list[Check]] = defaultdict(list)
    for name, case in operator_cases():
        for check in checks(case, name, target):
            found[check.trial.kernel.name].append(check)
    chosen = []
    for name, all_of_one in found.items():
        step = 4 if name.startswith("integer") else max(1, len(all_of_one) // CHECKS_OF_A_KERNEL)
        chosen += all_of_one[::step]
    return chosen


@pytest.mark.parametrize("isa", ["avx512", "avx512vnni"])
def test_kernels_agree_with_the_reference(isa: str, headers: Path) -> None:
    if isa in parse("native").isas:
        pytest.skip("this machine has the instructions")
    target = emulated(isa)
    todo = sample(target)
    if isa == "avx512vnni":
        todo = [c for c in todo if c.trial.kernel.name.startswith("integer")]
    library = TrialLibrary([c.trial for c in todo], target, zig(), ("-w", "-O1", f"-I{headers}"))
    wrong = failures(todo, library)
    assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])
