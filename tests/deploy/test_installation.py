"""Installing on a device that fails at every step."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from edgesmith.deploy import deploy, roll_back
from edgesmith.deploy.installation import IN_TURN
from edgesmith.deploy.transports.local import Local
from edgesmith.device import Artifact, load
from edgesmith.device.artifact import MANIFEST, sha256
from edgesmith.errors import ArtifactError, DeviceError
from edgesmith.release import SIGNATURE, make_keys, sign

pytestmark = pytest.mark.toolchain

FULL = """Filesystem 1024-blocks Used Available Capacity Mounted on
/dev/a disk 100 93 7 93% /home/of a user
"""
"""What df says."""


class Faulty(Local):
    """A device that fails at one of its commands.

    Args:
        at: number of the command or of the file that is pushed.
        how: ``lost``: the connection, before the command; ``late``: after it; ``short``: only a part of a file arrives,
            and nobody notices; ``full``: a part of a file arrives, then the disk is full.
    """

    def __init__(self, root: str, at: int, how: str) -> None:
        super().__init__(root)
        self.at, self.how, self.commands = at, how, 0

    def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        self.commands += 1
        if self.commands != self.at:
            return super().shell(script, stdin=stdin)
        if self.how in ("short", "full") and stdin:
            super().shell(script.replace("cat >", "head -c 1000 >"), stdin=stdin)
            return subprocess.CompletedProcess([], int(self.how == "full"), "", "cat: No space left on device")
        if self.how == "late":
            super().shell(script, stdin=stdin)
        if self.how in ("lost", "late"):
            raise DeviceError("the connection was lost", where=self.name)
        return super().shell(script, stdin=stdin)


def current(root: Path) -> str:
    """The hash of the manifest of the current version, whose program passes its self-test."""
    folder = root / "net" / "current"
    load_hashes = {f.name: sha256(f) for f in folder.iterdir()}
    files = Artifact(folder).manifest["files"]
    assert all(files.get(name, digest) == digest for name, digest in load_hashes.items())
    subprocess.run([folder / "net", "--selftest"], check=True, capture_output=True)
    return load_hashes[MANIFEST]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "device"


def test_only_what_changed_is_sent(first: Path, second: Path, root: Path, tmp_path: Path) -> None:
    device = Local(str(root))
    done = deploy(load(first), device)
    assert (done.previous, done.kept_bytes) == ("", 0) and done.times_ms and 0 < done.times_ms[1] <= done.times_ms[0]
    again = deploy(load(first), device)
    assert again.sent_bytes == 0 and again.version == done.version
    update = deploy(load(second), device, benchmark=False)
    assert update.previous == done.version and update.times_ms is None
    sign(second, make_keys(tmp_path / "release")[0])
    signed = deploy(load(second), device, benchmark=False)
    assert signed.sent_bytes == (second / SIGNATURE).stat().st_size < signed.kept_bytes
    assert current(root) == sha256(second / MANIFEST)


def test_back_and_forth(built: tuple[Path, Path], root: Path) -> None:
    device = Local(str(root))
    with pytest.raises(DeviceError, match="roll back: no version"):
        roll_back("net", device)
    for path in built:
        deploy(load(path), device, benchmark=False)
    for path in (built[0], built[1]):
        roll_back("net", device)
        assert current(root) == sha256(path / MANIFEST)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("net", None, "is damaged: net"),
        ("libnet.so", b"damaged", "is damaged: libnet.so"),
        ("manifest.json", b"{}", "is damaged: manifest.json"),
    ],
)
def test_nothing_goes_back_to_a_damaged_version(
    file: str, content: bytes | None, why: str, built: tuple[Path, Path], root: Path
) -> None:
    device = Local(str(root))
    older = deploy(load(built[0]), device, benchmark=False).version
    deploy(load(built[1]), device, benchmark=False)
    damaged = root / "net" / "versions" / older / file
    damaged.unlink() if content is None else damaged.write_bytes(content)
    with pytest.raises(DeviceError, match=why):
        roll_back("net", device)
    assert current(root) == sha256(built[1] / MANIFEST)


class Cut(Local):
    """A device that loses its power after some steps of the script that changes the current version."""

    def __init__(self, root: str, steps: int) -> None:
        super().__init__(root)
        self.steps = steps

    def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
        locked, switches, inner = script.partition(f"{IN_TURN} sh -c ")
        if not switches:
            return super().shell(script, stdin=stdin)
        (inner,) = shlex.split(inner)
        lines = inner.splitlines()
        super().shell(f"{locked}{switches}{shlex.quote(chr(10).join(lines[: self.steps]))}")
        self.steps -= len(lines)
        raise DeviceError("the connection was lost", where=self.name)


@pytest.mark.parametrize("back", [False, True], ids=["update", "rollback"])
def test_power_that_goes_while_the_version_changes(back: bool, built: tuple[Path, Path], tmp_path: Path) -> None:
    """Either version is current, whole, and the other one is its previous one or about to be sent again."""
    before = tmp_path / "before"
    for path in built[: 2 if back else 1]:
        deploy(load(path), Local(str(before)), benchmark=False)
    old, new = (sha256(path / MANIFEST) for path in (reversed(built) if back else built))
    seen = set()
    for steps in count(1):
        root = Path(shutil.copytree(before, tmp_path / str(steps), symlinks=True))
        device = Cut(str(root), steps)
        with pytest.raises(DeviceError, match="was lost"):
            roll_back("net", device) if back else deploy(load(built[1]), device, benchmark=False)
        found = current(root)
        seen.add(found)
        whole = Local(str(root))
        if back and found == old:
            roll_back("net", whole)
        elif not back:
            deploy(load(built[1]), whole, benchmark=False)
        assert current(root) == new
        roll_back("net", whole)
        assert current(root) == old
        shutil.rmtree(root)
        if device.steps >= 0:
            break
    assert seen == {old, new}


def test_a_deployment_beside_another_one(built: tuple[Path, Path], root: Path) -> None:
    """The second one comes and goes while the first one is about to switch."""

    class Slow(Local):
        def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
            if IN_TURN in script:
                deploy(load(built[0]), Local(str(root)), benchmark=False)
            return super().shell(script, stdin=stdin)

    done = deploy(load(built[1]), Slow(str(root)), benchmark=False)
    assert current(root) == sha256(built[1] / MANIFEST) and done.previous
    roll_back("net", Local(str(root)))
    assert current(root) == sha256(built[0] / MANIFEST)


def test_older_versions_leave(built: tuple[Path, Path], root: Path) -> None:
    (root / "net" / "versions" / "older").mkdir(parents=True)
    for path in built:
        deploy(load(path), Local(str(root)), benchmark=False)
    assert len(list((root / "net" / "versions").iterdir())) == 2


@pytest.mark.parametrize("how", ["lost", "late", "short", "full"])
def test_a_fault_anywhere_leaves_the_old_version(how: str, built: tuple[Path, Path], tmp_path: Path) -> None:
    before = tmp_path / "before"
    deploy(load(built[0]), Local(str(before)), benchmark=False)
    old, new = (sha256(path / MANIFEST) for path in built)
    failed = 0
    for at in count(1):
        root = Path(shutil.copytree(before, tmp_path / str(at), symlinks=True))
        device = Faulty(str(root), at, how)
        try:
            deploy(load(built[1]), device, benchmark=False)
        except DeviceError as error:
            stage, _, _ = error.why.partition(":")
            reached = {old, new} if stage in ("switch", "ask for the versions") else {old}
            assert current(root) in reached
            deploy(load(built[1]), Local(str(root)), benchmark=False)
            failed += 1
        assert current(root) == new
        shutil.rmtree(root)
        if device.commands < at:
            break
    assert failed >= (1 if how in ("short", "full") else 12)


@pytest.mark.parametrize("how", ["lost", "late"])
def test_a_fault_anywhere_while_rolling_back(how: str, built: tuple[Path, Path], tmp_path: Path) -> None:
    before = tmp_path / "before"
    for path in built:
        deploy(load(path), Local(str(before)), benchmark=False)
    old, new = (sha256(path / MANIFEST) for path in built)
    failed = 0
    for at in count(1):
        root = Path(shutil.copytree(before, tmp_path / str(at), symlinks=True))
        device = Faulty(str(root), at, how)
        try:
            roll_back("net", device)
        except DeviceError:
            failed += 1
            if current(root) == new:
                roll_back("net", Local(str(root)))
        assert current(root) == old
        roll_back("net", Local(str(root)))
        assert current(root) == new
        shutil.rmtree(root)
        if device.commands < at:
            break
    assert failed >= 4


def test_a_damaged_current_version_is_replaced(built: tuple[Path, Path], root: Path) -> None:
    deploy(load(built[0]), Local(str(root)), benchmark=False)
    (root / "net" / "current" / "libnet.so").write_bytes(b"damaged")
    done = deploy(load(built[0]), Local(str(root)), benchmark=False)
    assert done.sent_bytes > 0
    assert current(root) == sha256(built[0] / MANIFEST)


def test_a_program_that_fails_there_is_not_switched_to(first: Path, second: Path, root: Path) -> None:
    deploy(load(first), Local(str(root)), benchmark=False)
    program = load(second)
    program.executable.write_text("#!/bin/sh\necho wrong result; exit 1\n")
    program._digests[program.executable.name] = sha256(program.executable)
    with pytest.raises(DeviceError, match=r"try the program: wrong result"):
        deploy(program, Local(str(root)), benchmark=False)
    assert current(root) == sha256(first / MANIFEST)


def test_a_changed_artifact_is_not_sent(first: Path, root: Path) -> None:
    (first / "libnet.so").write_bytes(b"")
    with pytest.raises(ArtifactError, match="changed"):
        deploy(load(first), Local(str(root)))
    assert not root.exists()


def test_a_device_of_another_kind_or_without_room(built: tuple[Path, Path], root: Path) -> None:
    class Other(Local):
        def __init__(self, root: Path, script: str, answer: str) -> None:
            super().__init__(str(root))
            self.script, self.answer = script, answer

        def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
            if script.startswith(self.script):
                return subprocess.CompletedProcess([], 0, self.answer, "")
            return super().shell(script, stdin=stdin)

    with pytest.raises(DeviceError, match="check the device: is mips64, the programs are for"):
        deploy(load(built[0]), Other(root, "uname", "mips64\n"))
    with pytest.raises(DeviceError, match="compare: 7 KiB are free"):
        deploy(
            load(built[0]), Other(root, "df", f"Filesystem 1024-blocks Used Available Capacity Mounted on\n{FULL}\n")
        )
    with pytest.raises(DeviceError, match="compare: df says 'df: no file systems'"):
        deploy(load(built[0]), Other(root, "df", "df: no file systems\n"))
    with pytest.raises(DeviceError, match="lacks sha256sum, mv"):
        deploy(load(built[0]), Other(root, "for t in", "sha256sum\nmv\n"))
