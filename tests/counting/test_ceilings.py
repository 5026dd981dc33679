"""What real networks execute for other processors: longer code for them is seen here, on any machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesmith import api, zoo
from edgesmith.counting import count_inference
from edgesmith.counting.mca import cycles, tool
from edgesmith.errors import MissingDependency
from edgesmith.target import parse
from foreign import missing_emulator

pytestmark = pytest.mark.toolchain

SLACK = 1.02
"""Of a ceiling above what was counted when it was written."""


@pytest.mark.skipif(bool(missing_emulator("neon")), reason=missing_emulator("neon"))
@pytest.mark.parametrize(
    ("device", "precision", "instructions", "core_cycles"),
    [
        ("raspberry-pi-4", "f32", 2_091_750, 1_753_042),
        ("raspberry-pi-5", "int8", 1_404_318, 780_114),
    ],
)
def test_mobilenet_v3_small_stays_below_its_ceilings(
    device: str, precision: str, instructions: int, core_cycles: int, tmp_path: Path
) -> None:
    """64x64 pixels, kernels by predicted times; cycles by ``llvm-mca`` where it is installed."""
    options = {"calibration": "none"} if precision != "f32" else {}
    artifact = api.compile(
        zoo.build("mobilenet-v3-small", image_size=64),
        output=tmp_path / "out",
        target=device,
        precision=precision,
        tune="off",
        verify=False,
        emit=("static",),
        **options,
    )
    found = count_inference(artifact)
    assert instructions / 2 < found.instructions <= instructions * SLACK
    try:
        tool()
    except MissingDependency as error:
        pytest.skip(f"instructions only: {error.why}")
    core = parse(device).core
    assert core_cycles / 2 < cycles(found.blocks, "aarch64", core.model).total <= core_cycles * SLACK
