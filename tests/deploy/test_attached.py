"""Working with a program on a device: sent, run, compared, gone; and what may go wrong on the way."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgesmith import api
from edgesmith.bench.profile import profile
from edgesmith.deploy import Workplace, attach
from edgesmith.deploy.transports.local import Local
from edgesmith.device import load
from edgesmith.errors import DeviceError, Unreachable
from edgesmith.target import parse
from small_networks import residual_network

pytestmark = pytest.mark.toolchain

HERE = parse("native")
X = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)


def test_every_layer_is_compared_over_ssh(server: int, built: tuple[Path, Path], tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    artifact = load(built[0])
    with attach(f"ssh://{getpass.getuser()}@127.0.0.1:{server}{there}", HERE) as device:
        found = api.verify(artifact, residual_network(), device=device)
        assert found.ok and found.device == f"{getpass.getuser()}@127.0.0.1"
        assert [row.step for row in found.layers if row.step is not None] == list(
            range(len(artifact.manifest["steps"]))
        )
        assert [f.name[:10] for f in there.iterdir()] == ["edgesmith-"]
    assert not list(there.iterdir())


def test_times_of_steps_and_a_selftest_over_adb(stand_in: None, built: tuple[Path, Path], tmp_path: Path) -> None:
    artifact = load(built[0])
    with attach(f"adb://0123{tmp_path}/the%20device", HERE) as device:
        assert "selftest passed" in device.selftest(artifact)
        with device.open(artifact) as instance:
            found = profile(artifact, None, 3, instance=instance)
    assert len(found.steps) == len(artifact.manifest["steps"]) and found.total_ns > 0
    assert all(s.limit_ns is None and s.time_ns > 0 for s in found.steps)


def test_an_inference(built: tuple[Path, Path], tmp_path: Path) -> None:
    artifact = load(built[0])
    with attach(f"local:{tmp_path}", HERE) as device:
        for name, got in device.run(artifact, {"x": X}).items():
            np.testing.assert_array_equal(got, artifact(X)[name])  # type: ignore[index]


def test_a_wrong_program_is_found_there(first: Path, second: Path, tmp_path: Path) -> None:
    """The library of another model, with hashes to match: the layer that differs is named."""
    artifact = load(first)
    artifact.library.write_bytes(load(second).library.read_bytes())
    with attach(f"local:{tmp_path}", HERE) as device:
        found = api.verify(artifact, residual_network(), device=device)
    assert not found.ok and found.first_wrong is not None and found.first_wrong.step == 0


def test_files_are_sent_once_and_again_when_they_are_gone(built: tuple[Path, Path], tmp_path: Path) -> None:
    files = [load(built[0]).executable, load(built[0]).library]
    size = sum(f.stat().st_size for f in files)
    with Workplace(Local("", str(tmp_path))) as place:
        assert place.put(files) == size and place.put(files) == 0
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / files[0].name).write_bytes(b"damaged")
        assert place.put(files) == files[0].stat().st_size
        subprocess.run(["rm", "-r", folder], check=True)
        assert place.put(files) == size
    assert not list(tmp_path.iterdir())


class Faulty(Local):
    """Sending fails: ``short``: half of a file arrives, and nobody notices; ``full``: the disk is full meanwhile."""

    def __init__(self, folder: Path, how: str) -> None:
        super().__init__("", str(folder))
        self.how = how

    def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        if stdin:
            super().shell(script.replace("cat >", "head -c 1000 >"), stdin=stdin)
            return subprocess.CompletedProcess([], int(self.how == "full"), "", "cat: No space left on device")
        return super().shell(script, stdin=stdin)


@pytest.mark.parametrize(("how", "message"), [("short", "did not arrive whole"), ("full", "No space left")])
def test_files_that_do_not_arrive(how: str, message: str, built: tuple[Path, Path], tmp_path: Path) -> None:
    with Workplace(Faulty(tmp_path, how)) as place, pytest.raises(DeviceError, match=message):
        place.put([load(built[0]).executable])
    assert not list(tmp_path.iterdir())


def test_a_device_that_cannot_be_reached(server: int, built: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "user").unlink()
    with (
        pytest.raises(Unreachable, match="denied"),
        attach(f"ssh://{getpass.getuser()}@127.0.0.1:{server}", HERE),
    ):
        pass


def test_a_device_of_another_kind() -> None:
    foreign = parse("aarch64-linux-gnu")
    with pytest.raises(DeviceError, match="the programs are for aarch64"), attach("local:", foreign):
        pass


def test_a_folder_that_takes_no_files(built: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DeviceError, match=r"(?s)mkdir.*Name a folder of the device"),
        attach(f"local:{tmp_path}/file", HERE) as device,
    ):
        device.open(load(built[0]))
