"""Differences between artifacts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edgesmith.device import load
from edgesmith.device.artifact import MANIFEST
from edgesmith.errors import ArtifactError
from edgesmith.release import apply_delta, check_signature, make_delta, make_keys, sign
from edgesmith.release.delta import HEADER

pytestmark = pytest.mark.toolchain


def contents(folder: Path) -> dict[str, tuple[bytes, bool]]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): (p.read_bytes(), bool(p.stat().st_mode & 0o100)) for p in files}


@pytest.fixture
def delta(first: Path, second: Path, tmp_path: Path) -> Path:
    make_delta(first, second, tmp_path / "update.delta")
    return tmp_path / "update.delta"


def test_the_new_artifact_comes_out(first: Path, second: Path, delta: Path, tmp_path: Path) -> None:
    apply_delta(first, delta, tmp_path / "third")
    assert contents(tmp_path / "third") == contents(second)
    assert delta.stat().st_size < sum(len(data) for data, _ in contents(second).values()) / 4
    load(tmp_path / "third").check()


def test_in_place_of_the_old_one(first: Path, second: Path, delta: Path) -> None:
    apply_delta(first, delta, first)
    assert contents(first) == contents(second)


def test_another_artifact_is_refused(second: Path, delta: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="for another artifact"):
        apply_delta(second, delta, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_a_signature_travels_along(first: Path, second: Path, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "release")
    sign(second, private)
    make_delta(first, second, tmp_path / "signed.delta")
    apply_delta(first, tmp_path / "signed.delta", tmp_path / "third", lambda folder: check_signature(folder, public))
    check_signature(tmp_path / "third", public)


def test_what_is_not_accepted_leaves_the_old_one(first: Path, delta: Path, tmp_path: Path) -> None:
    before = contents(first)
    _, public = make_keys(tmp_path / "release")
    with pytest.raises(ArtifactError, match="is not signed"):
        apply_delta(first, delta, first, lambda folder: check_signature(folder, public))
    assert contents(first) == before


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_delta_changes_nothing(share: float, first: Path, delta: Path) -> None:
    before, data = contents(first), delta.read_bytes()
    delta.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError, match="damaged"):
        apply_delta(first, delta, first)
    assert contents(first) == before


def rewritten(delta: Path, change: dict[str, object]) -> None:
    """The delta with other values in the entry of its first packed file."""
    with zipfile.ZipFile(delta) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    header = json.loads(parts[HEADER])
    entry = next(e for e in header["files"] if "part" in e)
    entry |= change
    parts[HEADER] = json.dumps(header).encode()
    with zipfile.ZipFile(delta, "w") as packed:
        for name, data in parts.items():
            packed.writestr(name, data)


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../outside"},
        {"path": "/tmp/outside"},
        {"base": "../first/manifest.json"},
        {"bytes": 3},
        {"bytes": 1 << 50},
        {"sha256": "0" * 64},
        {"part": "missing"},
        {"path": None},
    ],
    ids=str,
)
def test_a_hostile_delta_changes_nothing(change: dict[str, object], first: Path, delta: Path, tmp_path: Path) -> None:
    before = contents(tmp_path / "first")
    rewritten(delta, change)
    with pytest.raises(ArtifactError):
        apply_delta(first, delta, first)
    assert contents(first) == before
    assert not (tmp_path / "outside").exists()


def test_a_damaged_base_is_refused(first: Path, delta: Path, tmp_path: Path) -> None:
    (first / "libnet.so").write_bytes(b"")
    with pytest.raises(ArtifactError, match="changed"):
        apply_delta(first, delta, tmp_path / "third")


def test_a_delta_of_what_is_no_artifact(first: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=MANIFEST):
        make_delta(first, tmp_path / "empty", tmp_path / "update.delta")
    assert not (tmp_path / "update.delta").exists()
