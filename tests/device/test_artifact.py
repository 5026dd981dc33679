"""Running artifacts: inputs, threads, processes, damage."""

from __future__ import annotations

import gc
import json
import os
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import edgesmith
from edgesmith import api
from edgesmith.device import Artifact, load
from edgesmith.device.artifact import MANIFEST
from edgesmith.errors import ArtifactError, BadInput, EdgesmithError
from small_networks import residual_network, two_inputs

pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("steps_shared")]


@pytest.fixture(scope="module")
def residual(steps_shared: None, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return api.compile(residual_network(), output=tmp_path_factory.mktemp("residual") / "out", cache=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return api.compile(two_inputs(), output=tmp_path_factory.mktemp("pair") / "out", cache=False)


@pytest.fixture
def damaged(residual: Artifact, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(residual.path, tmp_path / "copy")
    return tmp_path / "copy"


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 16, 16)).astype(np.float32)


FEEDS = {
    "a": np.ones((4, 6), np.float32),
    "b": np.ones((6, 3), np.float32),
    "n": np.arange(4),
}


def test_inputs_by_position_or_name(pair: Artifact, residual: Artifact) -> None:
    by_name = pair(**FEEDS)
    by_position = pair(*FEEDS.values())
    mixed = pair(FEEDS["a"], n=FEEDS["n"], b=FEEDS["b"])
    assert isinstance(by_name, dict) and list(by_name) == ["y", "m"]
    for other in (by_position, mixed):
        assert isinstance(other, dict)
        assert all(np.array_equal(by_name[v], other[v]) for v in by_name)
    assert by_name["m"].tolist() == [1, 2, 3, 4]
    assert "residual" in repr(residual) and "f32[1x3x16x16]" in repr(residual)


def test_a_single_output_comes_as_an_array(tmp_path: Path) -> None:
    model = residual_network()
    del model.graph.output[1]
    artifact = api.compile(model, output=tmp_path / "out", cache=False)
    y = artifact(image(0))
    assert isinstance(y, np.ndarray) and y.shape == (1, 5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a: a(FEEDS["a"].astype(np.float64), FEEDS["b"], FEEDS["n"]), "astype"),
        (lambda a: a(FEEDS["a"].T, FEEDS["b"], FEEDS["n"]), "shape"),
        (lambda a: a(FEEDS["a"], FEEDS["b"]), "missing input n"),
        (lambda a: a(*FEEDS.values(), FEEDS["n"]), "4 inputs given"),
        (lambda a: a(**FEEDS, z=1), "no such input"),
        (lambda a: a(FEEDS["a"], **FEEDS), "given twice"),
        (lambda a: a([[1.0], [2.0, 3.0]], FEEDS["b"], FEEDS["n"]), "not an array"),
        (lambda a: a(None, FEEDS["b"], FEEDS["n"]), "dtype"),
        (lambda a: a(FEEDS["a"].astype(">f4"), FEEDS["b"], FEEDS["n"]), "dtype"),
        (lambda a: a("text", FEEDS["b"], FEEDS["n"]), "dtype"),
    ],
)
def test_wrong_inputs_are_explained(pair: Artifact, call, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput, match=says):
        call(pair)


def test_inputs_of_any_strides_are_read_and_never_written(residual: Artifact) -> None:
    x = image(1)
    expected = residual(x)["logits"]
    padded = np.zeros((1, 3, 32, 16), np.float32)
    padded[:, :, ::2] = x
    for given in (padded[:, :, ::2], np.asfortranarray(x), x[::-1]):
        given.setflags(write=False)
        assert np.array_equal(residual(given)["logits"], expected)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    assert np.array_equal(residual(unaligned)["logits"], expected)


def test_outputs_are_fresh_every_time(residual: Artifact) -> None:
    first = residual(image(1))["logits"]
    kept = first.copy()
    residual(image(2))
    assert np.array_equal(first, kept)


def test_many_threads_at_once_get_their_own_answers(residual: Artifact) -> None:
    inputs = [image(seed) for seed in range(16)]
    expected = [residual(x)["logits"] for x in inputs]

    def work(i: int) -> bool:
        return all(np.array_equal(residual(inputs[i])["logits"], expected[i]) for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_do_not_depend_on_the_number_of_threads(residual: Artifact, threads: int) -> None:
    several = load(residual.path, threads)
    for seed in range(3):
        a, b = residual(image(seed)), several(image(seed))
        assert all(np.array_equal(a[v], b[v]) for v in a)


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_impossible_thread_counts_are_refused(residual: Artifact, threads: int) -> None:
    with pytest.raises(BadInput, match="threads"):
        load(residual.path, threads)(image(0))


def test_threads_that_call_a_threaded_program(residual: Artifact) -> None:
    artifact = load(residual.path, 2)
    inputs = [image(seed) for seed in range(4)]
    expected = [residual(x)["logits"] for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            got = list(pool.map(lambda x: artifact(x)["logits"], inputs))
            assert all(np.array_equal(g, e) for g, e in zip(got, expected, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_goes_on_and_the_parent_too(residual: Artifact, threads: int) -> None:
    artifact = load(residual.path, threads)
    x = image(5)
    expected = artifact(x)["logits"]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            right = all(np.array_equal(artifact(x)["logits"], expected) for _ in range(5))
            os.write(write, b"1" if right else b"0")
        finally:
            os._exit(0)
    timer = threading.Timer(30, os.kill, (child, 9))
    timer.start()
    for _ in range(5):
        assert np.array_equal(artifact(x)["logits"], expected)
    os.close(write)
    answer = os.read(read, 1)
    os.waitpid(child, 0)
    timer.cancel()
    os.close(read)
    assert answer == b"1"


def test_steps_one_by_one_equal_a_run(residual: Artifact) -> None:
    x = image(3)
    expected = residual(x)
    context = residual.context()
    outputs = [np.empty(t.shape, t.dtype.numpy) for t in residual.outputs.values()]
    context.bind([x], outputs)
    for i in range(len(residual.program.steps)):
        context.run_steps(i, i + 1)
    for got, v in zip(outputs, expected, strict=True):
        assert np.array_equal(got, expected[v])
    with pytest.raises(ArtifactError):
        context.run_steps(0, len(residual.program.steps) + 1)


def test_a_replaced_artifact_is_loaded_anew(residual: Artifact, tmp_path: Path) -> None:
    x, out = image(4), tmp_path / "out"
    shutil.copytree(residual.path, out)
    before = load(out)
    old = before(x)["logits"]
    shutil.rmtree(out)
    after = api.compile(residual_network(seed=1), output=out, cache=False)
    elsewhere = shutil.copytree(out, tmp_path / "elsewhere")
    assert np.array_equal(after(x)["logits"], load(elsewhere)(x)["logits"])
    assert not np.array_equal(after(x)["logits"], old)
    assert np.array_equal(before(x)["logits"], old)


def test_a_value_keeps_its_memory(residual: Artifact) -> None:
    program = residual.program
    inner = next(v for v in program.values if v not in {*residual.inputs, *residual.outputs})
    context = residual.context()
    alive = weakref.ref(context)
    value = context.value(inner)
    del context
    gc.collect()
    assert alive() is not None
    value[...] = 1
    del value
    gc.collect()
    assert alive() is None


def test_steps_need_bound_memory(residual: Artifact) -> None:
    context = residual.context()
    with pytest.raises(ArtifactError):
        context.run_steps(0, 1)
    with pytest.raises(BadInput, match="bind"):
        context.value("x")


def test_a_damaged_library_is_refused(damaged: Path) -> None:
    library = load(damaged).library
    data = library.read_bytes()
    for wrong in (b"", data[: len(data) // 2], data[:1000] + b"\xff" + data[1001:], b"not a library"):
        library.write_bytes(wrong)
        with pytest.raises(ArtifactError, match="changed since"):
            load(damaged)(image(0))
    library.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        load(damaged)(image(0))


def test_every_file_is_covered_by_a_hash(damaged: Path) -> None:
    artifact = load(damaged)
    artifact.check()
    header = next((damaged / "src").glob("*.h"))
    header.write_bytes(header.read_bytes() + b"\n")
    with pytest.raises(ArtifactError, match=header.name):
        artifact.check()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 999}',
        '"x"',
        "\0\xff",
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_a_damaged_manifest_is_refused(damaged: Path, text: str) -> None:
    (damaged / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError):
        load(damaged)


@pytest.mark.parametrize("key", ["name", "threads", "inputs", "outputs", "files", "format"])
@pytest.mark.parametrize("value", [None, "../../evil", [1], {"a": {}}, -7.5])
def test_a_wrong_entry_in_the_manifest_ends_in_an_error_of_ours(damaged: Path, key: str, value: object) -> None:
    manifest = json.loads((damaged / MANIFEST).read_text())
    manifest[key] = value
    (damaged / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(EdgesmithError):
        load(damaged)(image(0))


@pytest.mark.parametrize("key", ["steps", "free", "copies", "passes", "skipped", "memory", "model", "target"])
def test_a_manifest_without_what_commands_read_is_refused(damaged: Path, key: str) -> None:
    manifest = json.loads((damaged / MANIFEST).read_text())
    del manifest[key]
    (damaged / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=key):
        load(damaged)


def test_every_entry_of_a_step_is_needed(residual: Artifact, damaged: Path) -> None:
    for key in residual.manifest["steps"][-1]:
        manifest = json.loads((residual.path / MANIFEST).read_text())
        del manifest["steps"][-1][key]
        (damaged / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(ArtifactError, match=key):
            load(damaged)


def test_no_artifact(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path(__file__)):
        with pytest.raises(ArtifactError, match="no artifact here"):
            edgesmith.load(path)


def test_a_program_for_another_machine_is_refused(damaged: Path) -> None:
    manifest = json.loads((damaged / MANIFEST).read_text())
    manifest["isas"] = ["quantum512"]
    (damaged / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="quantum512"):
        load(damaged)(image(0))
