"""Signed artifacts: Ed25519 (RFC 8032) over the manifest, whose hashes cover every file that runs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesmith.atomic import write_file
from edgesmith.device.artifact import MANIFEST, UNHASHED, load
from edgesmith.errors import ArtifactError, BadInput, MissingDependency

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["SIGNATURE", "Signed", "check_signature", "make_keys", "sign"]

SIGNATURE = "manifest.sig"
ALGORITHM = "ed25519"


def make_keys(path: Path) -> tuple[Path, Path]:
    """A new pair of keys: ``path`` with the end ``.key`` (private, readable by its owner only) and ``.pub``, in PEM.

    Raises:
        BadInput: one of the files exists, or the path ends with no name.
    """
    if path.name in ("", ".."):
        raise BadInput(f"{str(path)!r} is no name for keys", hint="edgesmith keys release")
    serialization = _cryptography().hazmat.primitives.serialization
    private = _ed25519().Ed25519PrivateKey.generate()
    secret, public = path.with_name(f"{path.name}.key"), path.with_name(f"{path.name}.pub")
    for file in (secret, public):
        if file.exists():
            raise BadInput("exists; keys are not overwritten", where=str(file), hint="choose another name")
    pem = serialization.Encoding.PEM
    handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as written:
        written.write(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    try:
        write_file(public, private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    except OSError:
        secret.unlink()
        raise
    return secret, public


def sign(artifact: Path, key: Path) -> str:
    """Sign an artifact whose files are as its manifest says; gives the fingerprint of the key.

    Raises:
        ArtifactError: it is no artifact, or a file was changed since it was compiled.
        BadInput: the key cannot be read.
    """
    _check_files(artifact)
    private = _private_key(key)
    fingerprint = _fingerprint(private.public_key())
    value = base64.b64encode(private.sign((artifact / MANIFEST).read_bytes())).decode()
    text = json.dumps({"algorithm": ALGORITHM, "key": fingerprint, "signature": value}, indent=1)
    write_file(artifact / SIGNATURE, f"{text}\n".encode())
    return fingerprint


@dataclass(frozen=True)
class Signed:
    """What was checked.

    Args:
        key: fingerprint of the key.
        manifest: SHA-256 of the manifest that it signed.
    """

    key: str
    manifest: str


def check_signature(artifact: Path, key: Path) -> Signed:
    """Check that the holder of a key signed an artifact, and every file of it.

    Args:
        key: the public key, in PEM.

    Raises:
        ArtifactError: it is not signed, signed with another key, or something was changed, is missing or was added.
        BadInput: the key cannot be read.
    """
    public = _public_key(key)
    fingerprint = _fingerprint(public)
    file = artifact / SIGNATURE
    try:
        manifest = (artifact / MANIFEST).read_bytes()
    except OSError as error:
        raise ArtifactError("no artifact here (manifest.json is missing)", where=str(artifact)) from error
    try:
        found = json.loads(file.read_text())
        algorithm, signer, value = found["algorithm"], found["key"], base64.b64decode(found["signature"], validate=True)
    except FileNotFoundError:
        raise ArtifactError(
            "is not signed", where=str(artifact), hint=f"edgesmith sign {artifact} --key NAME.key"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"the signature is damaged: {error}", where=str(file)) from error
    if algorithm != ALGORITHM:
        raise ArtifactError(f"signed by {algorithm!r}; this Edgesmith checks {ALGORITHM}", where=str(file))
    if signer != fingerprint:
        raise ArtifactError(f"signed with the key {signer}, not with {fingerprint} ({key})", where=str(artifact))
    try:
        public.verify(value, manifest)
    except _cryptography().exceptions.InvalidSignature:
        raise ArtifactError("manifest or signature was changed since it was signed", where=str(artifact)) from None
    _check_files(artifact)
    return Signed(fingerprint, hashlib.sha256(manifest).hexdigest())


def _check_files(artifact: Path) -> None:
    """Every file is as the manifest says, and there is no other."""
    program = load(artifact)
    program.check()
    known = UNHASHED | {SIGNATURE, *program.manifest["files"]}
    added = sorted(p.relative_to(artifact).as_posix() for p in artifact.rglob("*") if not p.is_dir() or p.is_symlink())
    for name in added:
        if name not in known:
            raise ArtifactError("is not part of the artifact", where=str(artifact / name), hint="remove it")


def _fingerprint(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def _private_key(path: Path) -> Ed25519PrivateKey:
    load_key = _cryptography().hazmat.primitives.serialization.load_pem_private_key
    try:
        key = load_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, "private", error) from error
    if not isinstance(key, _ed25519().Ed25519PrivateKey):
        raise _unreadable(path, "private", None)
    return key  # type: ignore[no-any-return]


def _public_key(path: Path) -> Ed25519PublicKey:
    load_key = _cryptography().hazmat.primitives.serialization.load_pem_public_key
    try:
        key = load_key(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, "public", error) from error
    if not isinstance(key, _ed25519().Ed25519PublicKey):
        raise _unreadable(path, "public", None)
    return key  # type: ignore[no-any-return]


def _unreadable(path: Path, kind: str, error: Exception | None) -> BadInput:
    why = error.strerror if isinstance(error, OSError) else "not such a key in PEM"
    return BadInput(
        f"cannot read the {kind} Ed25519 key: {why}", where=str(path), hint="make a pair: edgesmith keys NAME"
    )


def _cryptography() -> Any:
    try:
        import cryptography.exceptions
        import cryptography.hazmat.primitives.serialization
    except ImportError as error:
        raise MissingDependency(
            "signing needs the package cryptography", hint="pip install 'edgesmith[release]'"
        ) from error
    return cryptography


def _ed25519() -> Any:
    _cryptography()
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519
