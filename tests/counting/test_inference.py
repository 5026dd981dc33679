"""Counts of a compiled network."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgesmith import api
from edgesmith.cli.app import app
from edgesmith.counting import Inference, count_inference
from edgesmith.device import Artifact
from edgesmith.errors import ArtifactError, TargetError
from foreign import missing_emulator
from small_networks import residual_network

pytestmark = pytest.mark.toolchain
needs_qemu = pytest.mark.skipif(bool(missing_emulator("neon")), reason=missing_emulator("neon"))

CALL = 400
"""More instructions than the call of one step takes."""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place = tmp_path_factory.mktemp("counted") / "out"
    options = {"target": "raspberry-pi-4", "cache": False, "verify": False, "tune": "off"}
    return api.compile(residual_network(), output=place, **options)


@pytest.fixture(scope="module")
def found(artifact: Artifact) -> Inference:
    return count_inference(artifact)


@needs_qemu
def test_the_steps_add_up(found: Inference) -> None:
    steps = [found.step_instructions(i) for i in range(len(found.steps))]
    assert all(steps)
    assert 0 <= sum(steps) - found.instructions < CALL * len(steps)
    for region in range(len(steps)):
        executed = found.step_blocks(region)
        assert sum(b.instructions * n for b, n in executed.items()) == steps[region]
    assert sum(b.instructions * n for b, n in found.blocks.items()) == found.instructions


@needs_qemu
def test_counts_repeat_exactly(artifact: Artifact, found: Inference) -> None:
    assert count_inference(artifact).instructions == found.instructions


@needs_qemu
def test_the_command_prints_steps(artifact: Artifact) -> None:
    done = CliRunner().invoke(app, ["profile", str(artifact.path), "--count", "--json"])
    assert done.exit_code == 0, done.output
    assert '"instructions"' in done.stdout


def test_without_an_emulator_it_says_what_to_install(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TargetError, match=r"not installed(.|\n)*apt install qemu-user"):
        count_inference(artifact)


def test_programs_of_this_machine_are_measured_instead(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesmith.counting.inference.runs_here", lambda target: True)
    with pytest.raises(TargetError, match=r"for this machine(.|\n)*without --count"):
        count_inference(artifact)


def test_a_core_without_a_model_is_refused(artifact: Artifact) -> None:
    done = CliRunner().invoke(app, ["profile", str(artifact.path), "--core", "cortex-a12"])
    assert done.exit_code != 0 and "cortex-a72" in str(done.exception) + done.output


def test_a_foreign_artifact_says_what_it_is_predicted_to_take(artifact: Artifact) -> None:
    found = artifact.manifest["predicted"]
    assert found["core"] == "cortex-a72" and found["gigahertz"] == 1.5 and found["factor"] > 1
    assert found["ns"] == pytest.approx(sum(s["predicted_ns"] for s in artifact.manifest["steps"]), rel=1e-3)


@needs_qemu
def test_a_library_that_is_missing_is_named(artifact: Artifact, tmp_path: Path) -> None:
    other = Artifact(artifact.path)
    other.path = tmp_path
    with pytest.raises(ArtifactError, match=r"\.a: missing"):
        count_inference(other)
