"""Differences between artifacts."""

from __future__ import annotations

import json
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesmith.device import load
from edgesmith.device.artifact import MANIFEST, sha256
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


def repacked(
    delta: Path, change: Callable[[dict[str, Any], dict[str, bytes]], object], method: int = zipfile.ZIP_STORED
) -> None:
    """The delta after ``change`` of its header and of its parts by name."""
    with zipfile.ZipFile(delta) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    header = json.loads(parts.pop(HEADER))
    change(header, parts)
    with zipfile.ZipFile(delta, "w", method) as packed:
        for name, data in parts.items():
            packed.writestr(name, data)
        if HEADER not in parts:
            packed.writestr(HEADER, json.dumps(header))


def first_packed(header: dict[str, Any]) -> dict[str, Any]:
    return next(e for e in header["files"] if "part" in e)


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
        {"path": "nul\0"},
        {"bytes": -1},
        {"bytes": 1e999},
        {"same": "../first/manifest.json"},
        {"same": "src"},
        {"base": []},
    ],
    ids=str,
)
def test_a_hostile_delta_changes_nothing(change: dict[str, object], first: Path, delta: Path, tmp_path: Path) -> None:
    before = contents(tmp_path / "first")
    repacked(delta, lambda header, _: first_packed(header).update(change))
    with pytest.raises(ArtifactError):
        apply_delta(first, delta, first)
    assert contents(first) == before
    assert not (tmp_path / "outside").exists()


def refused(old: Path, delta: Path, why: str) -> None:
    """A delta is an error that says why and leaves things as they were, and takes little memory."""
    before = contents(old)
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactError, match=why):
            apply_delta(old, delta, old)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert contents(old) == before


def bomb(size: int) -> Callable[[dict[str, Any], dict[str, bytes]], object]:
    """Another file of so many zeros, in few bytes."""
    part = zstandard.ZstdCompressor().compress(bytes(size))

    def change(header: dict[str, Any], parts: dict[str, bytes]) -> None:
        parts["zeros"] = part
        header["files"].append({**first_packed(header), "path": "zeros", "bytes": size, "part": "zeros"})

    return change


def test_more_than_a_delta_of_its_size_makes_is_refused(first: Path, delta: Path) -> None:
    repacked(delta, bomb(1 << 30))
    refused(first, delta, "claim to make")


def test_many_copies_of_an_old_file_are_refused(first: Path, delta: Path) -> None:
    def change(header: dict[str, Any], parts: dict[str, bytes]) -> None:
        entry = max((e for e in header["files"] if "same" in e), key=lambda e: e["bytes"])
        header["files"] += [{**entry, "path": f"{i}", "bytes": 1 << 40} for i in range(100)]

    repacked(delta, change)
    refused(first, delta, "claim to make")


def test_a_frame_of_another_size_than_its_entry_is_refused(first: Path, delta: Path) -> None:
    def change(header: dict[str, Any], parts: dict[str, bytes]) -> None:
        bomb(1 << 30)(header, parts)
        header["files"][-1]["bytes"] = 100

    repacked(delta, change)
    refused(first, delta, "another size")


def test_compressed_entries_are_refused(first: Path, delta: Path) -> None:
    repacked(delta, lambda *_: None, zipfile.ZIP_DEFLATED)
    refused(first, delta, "not stored")


def test_a_deep_header_is_refused(first: Path, delta: Path) -> None:
    repacked(delta, lambda _, parts: parts.update({HEADER: b"[" * 1_000_000}))
    refused(first, delta, "damaged")


def test_a_file_named_twice_is_refused(first: Path, delta: Path) -> None:
    repacked(delta, lambda header, _: header["files"].append(header["files"][0]))
    refused(first, delta, "twice")


def test_what_compresses_well_is_no_bomb(first: Path, second: Path, tmp_path: Path) -> None:
    """The maker and the receiver agree on the bound."""
    (second / "zeros").write_bytes(bytes(32 << 20))
    manifest = json.loads((second / MANIFEST).read_text())
    manifest["files"]["zeros"] = sha256(second / "zeros")
    (second / MANIFEST).write_text(json.dumps(manifest))
    size = make_delta(first, second, tmp_path / "update.delta")
    assert size < 64 << 10
    apply_delta(first, tmp_path / "update.delta", tmp_path / "third")
    assert contents(tmp_path / "third") == contents(second)


EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.floats(0, 1, exclude_max=True), st.integers(1, 255)),
        st.tuples(st.just("insert"), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("truncate"), st.floats(0, 1, exclude_max=True), st.none()),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS, near_the_end=st.booleans())
def test_damaged_bytes_are_deliberate_errors(
    edits: list[tuple[str, float, Any]], near_the_end: bool, first: Path, second: Path, delta: Path, tmp_path: Path
) -> None:
    whole = delta.read_bytes()
    data = bytearray(whole)
    for kind, share, value in edits:
        # Header and directory, which say what the rest means, lie at the end.
        start = len(data) - min(len(data), 16 << 10) if near_the_end else 0
        at = start + int(share * (len(data) - start))
        if kind == "flip" and at < len(data):
            data[at] ^= value
        elif kind == "insert":
            data[at:at] = value
        elif kind == "truncate":
            del data[at:]
    damaged, made = tmp_path / "damaged.delta", tmp_path / "made"
    damaged.write_bytes(data)
    try:
        apply_delta(first, damaged, made)
    except ArtifactError:
        assert not made.exists()
    else:
        assert {name: data for name, (data, _) in contents(made).items()} == {
            name: data for name, (data, _) in contents(second).items()
        }
        shutil.rmtree(made)


def test_a_damaged_base_is_refused(first: Path, delta: Path, tmp_path: Path) -> None:
    (first / "libnet.so").write_bytes(b"")
    with pytest.raises(ArtifactError, match="changed"):
        apply_delta(first, delta, tmp_path / "third")


def test_a_delta_of_what_is_no_artifact(first: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=MANIFEST):
        make_delta(first, tmp_path / "empty", tmp_path / "update.delta")
    assert not (tmp_path / "update.delta").exists()
