"""AVX-512 kernels on machines without it: the intrinsics of SIMDe compute what the instructions would."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from edgesmith.target import Target, parse
from edgesmith.target.isa import ISAS
from edgesmith.toolchain.compiler import zig
from edgesmith.tune.trial import TrialLibrary

from .problems import Check, checks, failures, operator_cases

SIMDE = Path("/usr/include/simde")
CHECKS_OF_A_KERNEL = 6

pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(not SIMDE.is_dir(), reason="SIMDe is not installed (apt install libsimde-dev)"),
    pytest.mark.skipif("avx2" not in parse("native").isas, reason="needs AVX2 to emulate on"),
]


class Emulated(Target):
    """A target whose code is compiled for AVX2."""

    @property
    def features(self) -> tuple[str, ...]:
        return ISAS["avx2"].features


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with SIMDe alone, and the header that puts it in the place of the compiler's."""
    folder = tmp_path_factory.mktemp("headers")
    (folder / "simde").symlink_to(SIMDE)
    (folder / "immintrin.h").write_text((Path(__file__).parent / "emulated" / "immintrin.h").read_text())
    return folder


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
    host = parse("native")
    implied = ("sse2", "avx2", "avx512", "avx512vnni")
    isas = implied[: implied.index(isa) + 1]
    if isa in host.isas:
        pytest.skip("this machine has the instructions")
    target = Emulated(host.triple, isas, host.cores, host.l1_bytes, host.l2_bytes)
    todo = sample(target)
    if isa == "avx512vnni":
        todo = [c for c in todo if c.trial.kernel.name.startswith("integer")]
    library = TrialLibrary([c.trial for c in todo], target, zig(), ("-w", "-O1", f"-I{headers}"))
    wrong = failures(todo, library)
    assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])
