"""Programs for other machines: compiled here, run by QEMU."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgesmith
from edgesmith import api
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device import Artifact, Emulator, emulated, load, runnable
from edgesmith.errors import ArtifactError, BadInput, TargetError
from edgesmith.frontend.onnx import read
from edgesmith.ir import DType
from edgesmith.passes import optimize
from edgesmith.quantize import Settings
from edgesmith.target import ISAS, parse
from edgesmith.zoo import build
from foreign import FOREIGN, foreign_target, missing_emulator
from small_networks import residual_network

pytestmark = pytest.mark.toolchain
ELSEWHERE = ("riscv64", "wasm32", "thumb")
"""Architectures with tests of their own."""
needs_qemu = pytest.mark.skipif(bool(missing_emulator("neon")), reason=missing_emulator("neon"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A small program for AArch64."""
    place = tmp_path_factory.mktemp("foreign") / "out"
    return api.compile(residual_network(), target="aarch64-linux-gnu", output=place, cache=False)


@needs_qemu
def test_layers_are_compared(foreign: Artifact) -> None:
    found = foreign.verification
    assert found is not None and found["ok"] and found["device"] == "qemu-aarch64 (cortex-a72)"
    assert foreign.manifest["target"] == "aarch64-linux-gnu+neon" and foreign.manifest["isas"] == ["neon"]
    again = api.verify(foreign, residual_network(), seed=5)
    steps = [layer.step for layer in again.layers if layer.step is not None]
    assert (
        again.ok and set(again.outputs) == set(foreign.outputs) and steps == list(range(len(foreign.manifest["steps"])))
    )


@needs_qemu
def test_layers_of_fp16_are_compared(tmp_path: Path) -> None:
    """By kernels that multiply fp16; every layer is within their bound."""
    artifact = api.compile(
        residual_network(),
        target="raspberry-pi-5",
        output=tmp_path / "out",
        precision="fp16",
        quantization=Settings(precision="fp16", activations=DType.F16),
        tune="off",
        cache=False,
    )
    found = artifact.verification
    assert found is not None and found["ok"] and found["device"] == "qemu-aarch64 (cortex-a76)"
    used = {step["kernel"] for step in artifact.manifest["steps"]}
    assert {"half-tiles", "half-depthwise"} <= used


@needs_qemu
def test_the_selftest_passes(foreign: Artifact) -> None:
    assert "selftest passed" in Emulator.of(foreign.target).selftest(foreign)


@needs_qemu
def test_a_damaged_program_is_found_wrong(foreign: Artifact, tmp_path: Path) -> None:
    """Other weights: the self-test fails, and says what it saw."""
    source = residual_network(seed=1)
    other = api.compile(source, target="aarch64-linux-gnu", output=tmp_path / "other", cache=False, verify=False)
    name = other.library.name
    assert name == foreign.library.name
    other.library.unlink()
    other.library.write_bytes(foreign.library.read_bytes())
    with pytest.raises(ArtifactError, match=r"exit status 1 on qemu-aarch64(.|\n)*FAIL"):
        Emulator.of(other.target).selftest(other)
    assert not api.verify(other, source).ok


@needs_qemu
def test_inputs_are_checked(foreign: Artifact) -> None:
    with pytest.raises(BadInput, match="missing input"):
        Emulator.of(foreign.target).run(foreign, {})


@needs_qemu
def test_threads_do_not_change_results(foreign: Artifact) -> None:
    program = foreign.executable.absolute()
    done = Emulator.of(foreign.target).start(program, ["--selftest", "--threads", "3"])
    assert done.returncode == 0, done.stdout + done.stderr


def test_this_machine_says_what_to_do(foreign: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"was compiled for aarch64-linux-gnu, this machine is (.|\n)*--selftest"):
        load(foreign.path)(np.zeros(1, np.float32))


def test_without_an_emulator_nothing_is_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    target = parse("aarch64-linux-gnu")
    with pytest.raises(TargetError, match=r"qemu-aarch64 is not installed(.|\n)*apt install qemu-user"):
        Emulator.of(target)
    assert not runnable(target) and runnable(parse("native"))
    artifact = api.compile(residual_network(), target=str(target), output=tmp_path / "out", cache=False)
    assert artifact.verification is None
    with pytest.raises(TargetError, match="is not installed"):
        api.verify(artifact, residual_network())


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edgesmith.device.emulator.RUN_SECONDS", 0.2)
    hanging = tmp_path / "qemu-hangs"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    with pytest.raises(ArtifactError, match=r"ran longer than 0\.2 s on qemu-hangs"):
        Emulator(str(hanging), "max", None).start(tmp_path / "program", ["--selftest"])


def test_what_cannot_be_emulated() -> None:
    with pytest.raises(TargetError, match="no emulator of windows"):
        Emulator.of(parse("x86_64-windows-gnu"))


@needs_qemu
def test_a_network_for_a_device(tmp_path: Path) -> None:
    artifact = edgesmith.compile(
        build("mobilenet-v3-small", image_size=64),
        target="raspberry-pi-4",
        output=tmp_path / "out",
        cache=False,
        emit=("exe",),
    )
    found = artifact.verification
    assert artifact.manifest["device"] == "raspberry-pi-4"
    assert found is not None and found["ok"] and found["device"] == "qemu-aarch64 (cortex-a72)"


@cache
def quantized_network() -> onnx.ModelProto:
    return api.quantize(build("mobilenet-v2", width=0.35, image_size=32), "none", samples=2).model


@pytest.mark.parametrize("isa", [name for name in FOREIGN if ISAS[name].arch not in ELSEWHERE])
def test_integers_are_the_simulators(isa: str, tmp_path: Path) -> None:
    """Bit for bit, up to the last dequantisation."""
    if missing := missing_emulator(isa):
        pytest.skip(missing)
    model = quantized_network()
    graph, _ = optimize(read(model))
    artifact = edgesmith.compile(
        model,
        target=str(foreign_target(isa)),
        output=tmp_path / "out",
        tune="off",
        verify=False,
        cache=False,
        name="net",
        emit=("exe",),
    )
    feeds = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))
    want = graph.reference(feeds)
    got = emulated(artifact.target).run(artifact, feeds)
    assert any("integer" in step["kernel"] for step in artifact.manifest["steps"])
    for value, result in got.items():
        np.testing.assert_array_equal(result, want[value])
