"""An Android archive (AAR) for Gradle: the library for the device, and headers and libraries for native code (Prefab).

The formats: https://developer.android.com/studio/projects/android-library (anatomy of an AAR),
https://google.github.io/prefab/.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgesmith.device import Artifact
from edgesmith.errors import ArtifactError
from edgesmith.packaging.archive import write_archive
from edgesmith.packaging.elf import ElfLibrary
from edgesmith.packaging.form import form
from edgesmith.packaging.libraries import INCLUDE, public_headers
from edgesmith.target import Target

__all__: list[str] = []

ABIS = {"aarch64": "arm64-v8a", "arm": "armeabi-v7a", "x86_64": "x86_64"}
OLDEST_API, NDK = 21, 27
"""Android 5 is the first with 64-bit programs; the kit whose rules the library follows."""
PAGE_BYTES = 16384
"""Largest pages of 64-bit devices; Google Play refuses libraries for smaller ones alone."""
SYSTEM_LIBRARIES = frozenset(("libc.so", "libm.so", "libdl.so"))


def _not_android(target: Target, several: bool) -> tuple[str, str] | None:
    if target.system.name == "android" and target.arch in ABIS:
        return None
    return f"it is for {target.triple}", "compile with --target aarch64-linux-android"


@form("android", _not_android)
def android(artifact: Artifact, version: str, folder: Path) -> Path:
    """``<name>-<version>-<abi>.aar``."""
    name, abi = artifact.name, ABIS[artifact.target.arch]
    _check_library(artifact)
    library = artifact.library.read_bytes()
    module = f"prefab/modules/{name}"
    libraries = f"{module}/libs/android.{abi}"
    files = {
        "AndroidManifest.xml": _manifest(name, version).encode(),
        f"jni/{abi}/{artifact.library.name}": library,
        "prefab/prefab.json": _json(name=name, schema_version=2, dependencies=[], version=version),
        f"{module}/module.json": _json(export_libraries=[], library_name=f"lib{name}"),
        **{f"{module}/{INCLUDE}/{f}": data for f, data in public_headers(artifact.path / "src", name).items()},
        f"{libraries}/abi.json": _json(abi=abi, api=OLDEST_API, ndk=NDK, stl="none", static=False),
        f"{libraries}/{artifact.library.name}": library,
    }
    path = folder / f"{name}-{version}-{abi}.aar"
    write_archive(path, files)
    return path


def _check_library(artifact: Artifact) -> None:
    """Raises ``ArtifactError`` where Android would refuse the library."""
    if not artifact.library.is_file():
        hint = "compile the model with --emit shared,android"
        raise ArtifactError("has no shared library", where=str(artifact.path), hint=hint)
    library = ElfLibrary.read(artifact.library)
    foreign = sorted(set(library.needed) - SYSTEM_LIBRARIES)
    if foreign:
        raise ArtifactError(f"needs {', '.join(foreign)}, which Android has not", where=str(artifact.library))
    if artifact.target.arch != "arm" and library.page_bytes < PAGE_BYTES:
        raise ArtifactError(f"is for pages of {library.page_bytes} bytes alone", where=str(artifact.library))


def _manifest(name: str, version: str) -> str:
    return f"""<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android"
    package="edgesmith.model_{name}"
    android:versionName="{version}">
    <uses-sdk android:minSdkVersion="{OLDEST_API}" />
</manifest>
"""


def _json(**entries: object) -> bytes:
    return (json.dumps(entries, indent=2) + "\n").encode()
