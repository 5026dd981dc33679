"""Signed artifacts, and every way in which one may not be what was signed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgesmith.device.artifact import MANIFEST
from edgesmith.errors import ArtifactError, BadInput
from edgesmith.release import SIGNATURE, check_signature, make_keys, sign

pytestmark = pytest.mark.toolchain


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path / "release")


def test_what_was_signed_is_accepted(first: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert sign(first, private) == check_signature(first, public).key
    assert private.stat().st_mode & 0o077 == 0


def test_keys_are_not_overwritten(keys: tuple[Path, Path]) -> None:
    before = keys[0].read_bytes()
    with pytest.raises(BadInput, match="not overwritten"):
        make_keys(keys[0].with_suffix(""))
    assert keys[0].read_bytes() == before


def test_an_unsigned_artifact_is_named(first: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(ArtifactError, match="is not signed"):
        check_signature(first, keys[1])


def test_another_key_is_named(first: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "other")
    sign(first, private)
    with pytest.raises(ArtifactError, match=r"signed with the key .*, not with"):
        check_signature(first, keys[1])
    check_signature(first, public)


def test_another_key_under_the_name_of_the_right_one(first: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    fingerprint = sign(first, keys[0])
    sign(first, make_keys(tmp_path / "other")[0])
    forged = {**json.loads((first / SIGNATURE).read_text()), "key": fingerprint}
    (first / SIGNATURE).write_text(json.dumps(forged))
    with pytest.raises(ArtifactError, match="was changed since it was signed"):
        check_signature(first, keys[1])


def test_a_changed_file_is_named(first: Path, keys: tuple[Path, Path]) -> None:
    sign(first, keys[0])
    library = first / "libnet.so"
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"libnet\.so.*changed"):
        check_signature(first, keys[1])


def test_a_changed_file_with_a_fitting_hash_is_refused(first: Path, keys: tuple[Path, Path]) -> None:
    sign(first, keys[0])
    manifest = json.loads((first / MANIFEST).read_text())
    manifest["threads"] = 7
    (first / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="was changed since it was signed"):
        check_signature(first, keys[1])


def test_missing_and_added_files_are_named(first: Path, keys: tuple[Path, Path]) -> None:
    sign(first, keys[0])
    (first / "extra.so").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"extra\.so.*not part"):
        check_signature(first, keys[1])
    (first / "extra.so").unlink()
    (first / "libnet.a").unlink()
    with pytest.raises(ArtifactError, match=r"libnet\.a.*missing"):
        check_signature(first, keys[1])


@pytest.mark.parametrize("name", ["", ".", "/", ".."])
def test_keys_need_a_name(name: str) -> None:
    with pytest.raises(BadInput, match="no name for keys"):
        make_keys(Path(name))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"algorithm": "ed25519", "key": "x", "signature": "%"}',
        "\ud800",
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_a_damaged_signature(text: str, first: Path, keys: tuple[Path, Path]) -> None:
    (first / SIGNATURE).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ArtifactError, match="damaged"):
        check_signature(first, keys[1])


def test_a_changed_artifact_is_not_signed(first: Path, keys: tuple[Path, Path]) -> None:
    (first / "net.h").unlink(missing_ok=True)
    (first / "src" / "net.h").write_text("")
    with pytest.raises(ArtifactError):
        sign(first, keys[0])
    assert not (first / SIGNATURE).exists()


def test_what_is_no_key(first: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("-----BEGIN NOTHING-----")
    for use in (lambda: sign(first, wrong), lambda: sign(first, keys[1]), lambda: check_signature(first, wrong)):
        with pytest.raises(BadInput, match="edgesmith keys"):
            use()
