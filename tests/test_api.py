"""The pipeline as a whole: same bytes, the cache, interruptions, full disks, PyTorch."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgesmith
from edgesmith import api, cache, knobs
from edgesmith.device.folder import replacing
from edgesmith.errors import (
    ArtifactError,
    BadInput,
    EdgesmithError,
    MissingDependency,
    ModelError,
    ResourceLimit,
    TargetError,
)
from edgesmith.eviction import evict
from edgesmith.frontend import torch as torch_frontend
from edgesmith.pipeline import making
from edgesmith.recipe import Recipe
from small_networks import residual_network, shuffle_network, two_inputs

pytestmark = pytest.mark.toolchain


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact cache of this test's own; the compiler's cache stays shared."""
    monkeypatch.setattr(cache, "_root", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def entries(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("model", [residual_network(), shuffle_network()], ids=["residual", "shuffle"])
def test_building_twice_gives_the_same_bytes(
    model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(knobs.CACHE_MB.name, "0")  # without objects of earlier builds
    places = (tmp_path / "first" / "out", tmp_path / "elsewhere" / "second")
    found = [contents(api.compile(model, output=place, cache=False).path) for place in places]
    assert found[0].keys() == found[1].keys()
    assert {"manifest.json", "verification.json", "src/weights.bin"} <= found[0].keys()
    for file in found[0].keys() - {"verification.json"}:
        assert found[0][file] == found[1][file], file


def test_compiled_from_a_path_or_from_memory_is_the_same_program(tmp_path: Path) -> None:
    model = residual_network()
    path = tmp_path / "residual network.onnx"
    onnx.save(model, path)
    a = api.compile(path, output=tmp_path / "a", cache=False)
    b = api.compile(model, output=tmp_path / "b", cache=False)
    assert a.library.read_bytes() == b.library.read_bytes()


def test_the_second_time_comes_from_the_cache(tmp_path: Path, own_cache: Path) -> None:
    model = residual_network()
    first = api.compile(model, output=tmp_path / "a")
    stages: list[str] = []
    second = api.compile(model, output=tmp_path / "b", progress=lambda stage, i, n: stages.append(stage))
    assert set(stages) == {"cache"}
    assert contents(first.path) == contents(second.path)
    second.check()
    assert os.access(second.executable, os.X_OK)
    subprocess.run([second.executable, "--selftest"], check=True, capture_output=True)


@pytest.mark.parametrize(
    "other", [{"threads": 2}, {"target": "portable"}, {"name": "other"}, {"tune": "off"}], ids=lambda o: next(iter(o))
)
def test_whatever_decides_the_build_is_part_of_the_key(other: dict[str, Any], tmp_path: Path, own_cache: Path) -> None:
    model = two_inputs()
    api.compile(model, output=tmp_path / "a")
    stages: list[str] = []
    api.compile(model, output=tmp_path / "a", progress=lambda stage, i, n: stages.append(stage), **other)
    assert "compile" in stages


def test_another_weight_is_another_model(tmp_path: Path) -> None:
    model = residual_network()
    digest = cache.model_digest(model)
    assert digest == cache.model_digest(residual_network())
    assert digest != cache.model_digest(residual_network(1))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    external = cache.model_digest(tmp_path / "m.onnx")
    data = bytearray((tmp_path / "m.bin").read_bytes())
    data[10] ^= 1
    (tmp_path / "m.bin").write_bytes(data)
    assert external and cache.model_digest(tmp_path / "m.onnx") not in (None, external)
    (tmp_path / "m.bin").unlink()
    assert cache.model_digest(tmp_path / "m.onnx") is None
    assert cache.model_digest(tmp_path / "nothing.onnx") is None


def test_an_unverified_entry_does_not_serve_who_wants_proof(tmp_path: Path, own_cache: Path) -> None:
    model = two_inputs()
    assert api.compile(model, output=tmp_path / "a", verify=False).verification is None
    assert api.compile(model, output=tmp_path / "a").verification is not None
    stages: list[str] = []
    api.compile(model, output=tmp_path / "a", verify=False, progress=lambda stage, i, n: stages.append(stage))
    assert set(stages) == {"cache"}


def test_a_damaged_entry_is_built_anew(tmp_path: Path, own_cache: Path) -> None:
    model = two_inputs()
    good = contents(api.compile(model, output=tmp_path / "a").path)
    (entry,) = own_cache.iterdir()
    library = next((entry / "files").glob("*.so"))
    for damage in (lambda: library.write_bytes(b"x"), library.unlink, lambda: (entry / "entry.json").write_text("[")):
        damage()
        again = contents(api.compile(model, output=tmp_path / "a").path)
        assert {f: b for f, b in again.items() if f != "verification.json"} == {
            f: b for f, b in good.items() if f != "verification.json"
        }
        api.Artifact(tmp_path / "a").check()


def test_the_entry_used_longest_ago_goes_first(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "data").write_bytes(bytes(400 << 10))
    monkeypatch.setenv(knobs.CACHE_MB.name, "1")
    for i, key in enumerate(("one", "two")):
        cache.insert(key, folder)
        os.utime(own_cache / key, (i, i))
    into = tmp_path / "into"
    into.mkdir()
    assert cache.find("one", "data", into)
    cache.insert("three", folder)
    assert entries(own_cache) == ["one", "three"]


def test_what_a_killed_process_left_goes_and_what_another_writes_stays(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "data").write_bytes(bytes(10))
    monkeypatch.setenv(knobs.CACHE_MB.name, "0")
    for name, age in ((".part.left", 100_000), (".part.written", 10)):
        (own_cache / name).mkdir(parents=True)
        os.utime(own_cache / name, (time.time() - age,) * 2)
    cache.insert("one", folder)
    assert entries(own_cache) == [".part.written", "one"]


def test_entries_in_use_stay(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knobs.CACHE_MB.name, "0")
    for name, age in (("old", 100), ("recent", 10), ("newest", 0)):
        (own_cache / name).mkdir(parents=True)
        (own_cache / name / "data").write_bytes(bytes(10))
        os.utime(own_cache / name, (time.time() - age,) * 2)
    evict(own_cache, "newest", idle_seconds=50)
    assert entries(own_cache) == ["newest", "recent"]


def test_processes_that_fill_the_cache_at_once_find_whole_entries_or_none(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(knobs.CACHE_MB.name, "1")
    folder = tmp_path / "artifact"
    folder.mkdir()
    for i in range(4):
        (folder / f"data{i}").write_bytes(bytes([i]) * (64 << 10))

    def work(worker: int) -> int:
        hits = 0
        for i in range(12):
            into = tmp_path / f"into-{worker}-{i}"
            into.mkdir()
            if cache.find(f"key{i % 5}", "data0", into):
                hits += 1
                assert contents(into) == contents(folder)
            else:
                assert entries(into) == []
                cache.insert(f"key{i % 5}", folder)
        return hits

    with ThreadPoolExecutor(4) as pool:
        hits = list(pool.map(work, range(4)))
    assert sum(hits) > 0
    assert sum(f.stat().st_size for f in own_cache.rglob("data*")) <= 1 << 20


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cache, "_root", lambda: tmp_path / "file" / "cache")
    api.compile(two_inputs(), output=tmp_path / "out")


@pytest.mark.parametrize("stage", ["read", "plan", "reference", "compile", "verify"])
def test_an_interruption_leaves_nothing_behind(stage: str, tmp_path: Path) -> None:
    def interrupt(now: str, done: int, total: int) -> None:
        if now == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.compile(two_inputs(), output=tmp_path / "out", cache=False, progress=interrupt)
    assert entries(tmp_path) == []


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    onnx.save(residual_network(), tmp_path / "model.onnx")
    work = tmp_path / "work"
    work.mkdir()
    script = "import sys, edgesmith; edgesmith.compile(sys.argv[1], output='out', cache=False)"
    command = [sys.executable, "-c", script, str(tmp_path / "model.onnx")]
    process = subprocess.Popen(command, cwd=work, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not any(work.iterdir()) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    assert entries(work) == []


def test_a_full_disk_is_explained_and_leaves_the_old_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    before = contents(api.compile(two_inputs(), output=out, cache=False).path)
    write = Path.write_bytes

    def full(self: Path, data: Any) -> int:
        if self.name == "selftest_data.h":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left") as caught:
        api.compile(two_inputs(), output=out, cache=False)
    assert "free some space" in caught.value.hint
    assert contents(out) == before
    assert entries(tmp_path) == ["out"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk(tiny_disk: Path) -> None:
    with pytest.raises(EdgesmithError):
        api.compile(residual_network(), output=tiny_disk / "out", cache=False)
    assert entries(tiny_disk) == []


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ArtifactError, match="left alone"):
            api.compile(two_inputs(), output=place, cache=False)
    assert entries(tmp_path) == ["notes.txt"]
    with pytest.raises(ArtifactError):
        api.compile(two_inputs(), output=tmp_path / "notes.txt" / "out", cache=False)


def test_replacing_restores_the_old_folder_when_the_swap_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with replacing(out) as fresh:
        (fresh / "manifest.json").write_text("old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == out and self.name != "artifact":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ArtifactError), replacing(out) as fresh:
        (fresh / "manifest.json").write_text("new")
    assert (out / "manifest.json").read_text() == "old"
    assert entries(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tune": "sometimes"}, BadInput),
        ({"target": "toaster"}, TargetError),
        ({"target": "native+sse9"}, TargetError),
        ({"shapes": {"z": (1,)}}, BadInput),
        ({"shapes": {"x": 5}}, BadInput),
        ({"bindings": {"z": np.zeros(1)}}, BadInput),
        ({"bindings": {"z": [[1], [1, 2]]}}, BadInput),
        ({"threads": 0}, BadInput),
        ({"threads": 100_000, "verify": False}, BadInput),
        ({"threads": "two"}, BadInput),
        ({"compiler": "no-such-compiler"}, EdgesmithError),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        api.compile(two_inputs(), output=tmp_path / "out", **options)
    assert entries(tmp_path) == []


def test_too_little_memory_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*arguments: object, **options: object) -> None:
        raise MemoryError("Unable to allocate 8.00 GiB")

    monkeypatch.setattr(making, "accumulate", exhausted)
    with pytest.raises(ResourceLimit, match=r"8\.00 GiB"):
        api.compile(two_inputs(), output=tmp_path / "out", cache=False)
    assert entries(tmp_path) == []


def test_no_model(tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"\x08\x07location" + bytes(range(64)))
    for model in (tmp_path / "nothing.onnx", tmp_path / "damaged.onnx", b"", 5):
        with pytest.raises((ModelError, BadInput)):
            api.compile(model, output=tmp_path / "out")  # type: ignore[arg-type]


def test_bindings_fix_an_input(tmp_path: Path) -> None:
    n = np.array([5, 6, 7, 8])
    artifact = api.compile(two_inputs(), output=tmp_path / "out", bindings={"n": n}, cache=False)
    assert list(artifact.inputs) == ["a", "b"]
    a, b = np.ones((4, 6), np.float32), np.ones((6, 3), np.float32)
    y = artifact(a, b)
    assert isinstance(y, dict) and y["m"].tolist() == [6, 7, 8, 9]
    assert api.verify(artifact, two_inputs(), bindings={"n": n}).ok
    assert artifact.manifest["model"]["bindings"].keys() == {"n"}


def test_recipes_have_digests() -> None:
    assert Recipe().digest() == Recipe().digest()
    assert (
        len({Recipe().digest(), Recipe(threads=2).digest(), Recipe(flags=("-g",)).digest(), Recipe().digest("x")}) == 4
    )


@pytest.mark.torch
def test_exporting_leaves_the_modes_of_a_module_alone(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'train')")
    from edgesmith.frontend.torch import export

    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(), torch.nn.Linear(2, 2)).train()
    module[1].eval()
    export(module, torch.zeros(1, 2), tmp_path / "model.onnx", traced=True)
    assert [part.training for part in module.modules()] == [True, True, False, True]


def test_from_torch_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"edgesmith\[train\]"):
        edgesmith.from_torch(object(), np.zeros(1))


@pytest.mark.torch
class TestFromTorch:
    @pytest.fixture
    def torch(self) -> Any:
        return pytest.importorskip("torch")

    def test_a_module_becomes_an_artifact(self, torch: Any, tmp_path: Path) -> None:
        torch.manual_seed(0)
        nn = torch.nn
        module = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 4),
        )  # fmt: skip
        x = torch.randn(1, 3, 12, 12)
        artifact = edgesmith.from_torch(module, x, output=tmp_path / "out", cache=False)
        assert module.training
        with torch.no_grad():
            expected = module.eval()(x).numpy()
        np.testing.assert_allclose(artifact(x.numpy()), expected, rtol=1e-4, atol=1e-5)

    def test_several_and_named_inputs(self, torch: Any, tmp_path: Path) -> None:
        class Product(torch.nn.Module):  # type: ignore[misc, name-defined]
            def forward(self, a: Any, b: Any) -> Any:
                return a @ b + 1

        a, b = torch.randn(2, 3), torch.randn(3, 4)
        for example in ((a, b), {"a": a, "b": b}):
            artifact = edgesmith.from_torch(Product(), example, output=tmp_path / "out", cache=False)
            y = artifact(a=a.numpy(), b=b.numpy())
            np.testing.assert_allclose(y, (a @ b + 1).numpy(), rtol=1e-5, atol=1e-6)

    def test_what_cannot_be_exported_is_explained(self, torch: Any, tmp_path: Path) -> None:
        class Broken(torch.nn.Module):  # type: ignore[misc, name-defined]
            def forward(self, x: Any) -> Any:
                raise RuntimeError("no forward today")

        with pytest.raises(ModelError, match="Broken"):
            edgesmith.from_torch(Broken(), torch.zeros(1), output=tmp_path / "out")
        with pytest.raises(BadInput):
            torch_frontend.export(object(), torch.zeros(1), tmp_path / "x.onnx")
