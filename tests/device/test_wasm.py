"""Programs of WebAssembly, run by wasmtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesmith import api
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.counting import StepCounts, count_steps
from edgesmith.device import Artifact, emulated, load, runnable
from edgesmith.device import wasm as device
from edgesmith.device.wasm import WasmInstance, Wasmtime
from edgesmith.errors import ArtifactError, BadInput, TargetError
from edgesmith.frontend.onnx import read
from edgesmith.passes import optimize
from edgesmith.target import parse
from edgesmith.verify import wrong_integers
from edgesmith.zoo import build
from foreign import missing_emulator
from small_networks import residual_network

pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(bool(missing_emulator("simd128")), reason=missing_emulator("simd128")),
]
TARGET = "wasm32-wasi+simd128"
CALL = 400
"""More instructions than the call of one step takes."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place = tmp_path_factory.mktemp("wasm") / "out"
    return api.compile(residual_network(), target=TARGET, output=place, tune="off", cache=False)


def inputs(program: Artifact) -> list[np.ndarray]:
    return selftest_inputs(list(program.inputs.values()))


def test_layers_agree(program: Artifact) -> None:
    found = program.verification
    assert found is not None and found["ok"] and found["device"].startswith("wasmtime ")
    assert program.manifest["target"] == TARGET and program.manifest["isas"] == ["simd128"]
    steps = [layer["step"] for layer in found["layers"] if layer["step"] is not None]
    assert steps == list(range(len(program.manifest["steps"])))


def test_the_executable_tests_itself_and_reads_files(program: Artifact, tmp_path: Path) -> None:
    engine = emulated(program.target)
    assert "selftest passed" in engine.selftest(program)
    (x,) = inputs(program)
    (tmp_path / "x").write_bytes(x.tobytes())
    done = engine.start(program.executable.absolute(), ["--run", *(str(tmp_path / name) for name in "xyz")])
    assert done.returncode == 0, done.stderr
    wanted = engine.run(program, dict(zip(program.inputs, [x], strict=True))).values()
    for name, want in zip("yz", wanted, strict=True):
        got = np.frombuffer((tmp_path / name).read_bytes(), want.dtype).reshape(want.shape)
        np.testing.assert_array_equal(got, want)


def test_what_the_executable_refuses(program: Artifact, tmp_path: Path) -> None:
    engine, place = emulated(program.target), program.executable.absolute()
    assert engine.start(place, ["--run", *(str(tmp_path / "no" / name) for name in "xyz")]).returncode == 3
    done = engine.start(place, ["--selftest", "--threads", "2"])
    assert done.returncode == 4 and "2 threads" in done.stderr
    with pytest.raises(ArtifactError, match="cannot be read"):
        engine.start(tmp_path / "none.wasm", [])
    (tmp_path / "bad.wasm").write_bytes(b"\0asm")
    assert engine.start(tmp_path / "bad.wasm", []).returncode == device.ABORTED


def test_the_library_imports_nothing(program: Artifact) -> None:
    """Sections of a module: 2 holds its imports (WebAssembly Core Specification, "Modules")."""
    data, at, sections = program.library.read_bytes(), 8, []
    while at < len(data):
        sections.append(data[at])
        size, shift, at = 0, 0, at + 1
        while True:
            size |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if not data[at - 1] & 128:
                break
        at += size
    assert 2 not in sections and 7 in sections


def test_values_between_steps(program: Artifact) -> None:
    value = program.manifest["steps"][0]["outputs"][0]
    with WasmInstance(program) as instance:
        instance.bind(inputs(program))
        instance.run_steps(0, 1)
        first = instance.read(value)
        instance.write(value, np.zeros_like(first))
        assert first.any() and not instance.read(value).any()
        instance.write(value, first)
        sums = {instance.checksum(value)}
        instance.run_steps(0, 1)
        assert sums == {instance.checksum(value)}
        times = instance.time_steps(2)
        assert times.steps.shape == (2, instance.steps) and (times.whole > 0).all()
        with pytest.raises(ArtifactError, match="status 1"):
            instance.run_steps(0, instance.steps + 1)


def test_what_is_executed_is_the_same_every_time(program: Artifact) -> None:
    counts = []
    for _ in range(2):
        with WasmInstance(program, counts=True) as instance:
            instance.bind(inputs(program))
            before = instance.executed
            instance.run_steps(0, instance.steps)
            counts.append(instance.executed - before)
    assert counts[0] == counts[1] > 10_000


def test_the_steps_add_up(program: Artifact) -> None:
    found = count_steps(program)
    assert isinstance(found, StepCounts) and found == count_steps(program)
    assert len(found.each) == len(program.manifest["steps"]) and all(found.each)
    assert 0 <= sum(found.each) - found.instructions < CALL * len(found.each)


def test_threads_and_other_places(program: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="one thread"):
        Wasmtime().open(program, 2)
    with pytest.raises(ArtifactError, match="was compiled for wasm32-wasi"):
        load(program.path)(*inputs(program))
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    with pytest.raises(TargetError, match=r"wasmtime is not installed(.|\n)*edgesmith\[wasm\]"):
        emulated(program.target)
    assert not runnable(parse(TARGET))


def test_a_damaged_library_is_named(program: Artifact, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in program.path.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    broken = load(copy)
    broken.library.write_bytes(broken.library.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="cannot load the program"):
        WasmInstance(broken)


def test_without_vectors(tmp_path: Path) -> None:
    artifact = api.compile(residual_network(), target="wasm32-wasi", output=tmp_path / "out", tune="off", cache=False)
    found = artifact.verification
    assert artifact.manifest["isas"] == [] and found is not None and found["ok"]


def test_integers_are_the_simulators(tmp_path: Path) -> None:
    model = api.quantize(build("lenet-5"), "none", samples=1).model
    target, place = "wasm32-wasi+simd128", tmp_path / "out"
    artifact = api.compile(model, target=target, output=place, tune="off", verify=False, cache=False, name="net")
    graph, _ = optimize(read(model))
    feeds = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))
    with WasmInstance(artifact) as instance:
        wrong, compared = wrong_integers(artifact, graph, feeds, instance)
    assert compared > 1000 and not wrong
