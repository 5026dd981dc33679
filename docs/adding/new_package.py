"""How to add a packaging form.

A form is a function that writes an artifact, with a version, into a folder, and gives the path: one file in
``src/edgesmith/packaging/forms/``, registered under the word that ``--emit`` takes. What it gets was checked: the
artifact's files have their hashes, the version is numbers and dots, the folder exists. So a form does three things:

- It says why it cannot: for a target, by a function that is asked before anything is compiled; where the artifact
  lacks something, with an ``ArtifactError`` that names the way out.
- It takes what it packs from the artifact alone: ``library``, ``inputs``, ``outputs``, ``target``, the sources
  (``packaging/sources.py``), the public headers (``packaging/libraries.py``).
- It writes the same bytes every time, without times and paths of this machine. ``packaging/archive.py`` does so for
  zip.

The line about the form in ``edgesmith pack --help`` and ``docs/packaging.md`` is the rest.

This guide runs: its form is a tar archive for package managers that unpack libraries and headers under a prefix.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from edgesmith.atomic import write_file
from edgesmith.device import Artifact
from edgesmith.errors import ArtifactError
from edgesmith.packaging import form
from edgesmith.packaging.libraries import public_headers
from edgesmith.target import Target


def not_under_a_prefix(target: Target, several: bool) -> tuple[str, str] | None:
    """Why there is none for a target, and what to do; asked before anything is compiled."""
    if target.system.name == "linux":
        return None
    return f"{target.system.name} has no prefixes", "compile for Linux"


@form("prefix", not_under_a_prefix)
def prefix(artifact: Artifact, version: str, folder: Path) -> Path:
    """``<name>-<version>.tar.gz`` with ``lib/`` and ``include/``."""
    if not artifact.library.is_file():
        raise ArtifactError(
            "has no shared library", where=str(artifact.path), hint="compile the model with --emit shared"
        )
    files = {f"include/{n}": data for n, data in public_headers(artifact.path / "src", artifact.name).items()}
    files[f"lib/{artifact.library.name}"] = artifact.library.read_bytes()
    path = folder / f"{artifact.name}-{version}.tar.gz"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)  # owner, group and time are zero
            entry.size = len(files[name])
            archive.addfile(entry, io.BytesIO(files[name]))
    write_file(path, gzip.compress(content.getvalue(), mtime=0))
    return path


def main() -> None:
    import edgesmith
    from edgesmith import zoo
    from edgesmith.packaging import pack

    artifact = edgesmith.compile(zoo.build("lenet-5"), output="lenet", emit=("shared",), verify=False)
    made = pack(artifact, ["prefix"], Path("dist"), "1.2.0")["prefix"]
    with tarfile.open(made) as archive:
        print(made, archive.getnames())
        assert "include/es_abi.h" in archive.getnames()
        assert f"lib/{artifact.library.name}" in archive.getnames()
    again = pack(artifact, ["prefix"], Path("again"), "1.2.0")["prefix"]
    assert made.read_bytes() == again.read_bytes()

    # Where the library is missing, as in an artifact that was compiled with --emit static.
    artifact.library.unlink()
    try:
        prefix(artifact, "1.2.0", Path("dist"))
    except ArtifactError as error:
        print(error)
    else:
        raise AssertionError("packed what is not there")


if __name__ == "__main__":
    main()
