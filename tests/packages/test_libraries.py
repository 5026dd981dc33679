"""What is read from libraries: as readelf reads it, and nothing but errors from damaged ones."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesmith.errors import ArtifactError
from edgesmith.packaging.elf import ElfLibrary
from edgesmith.packaging.mach_o import oldest_macos
from edgesmith.target import parse
from edgesmith.toolchain import zig

from .conftest import installed

pytestmark = pytest.mark.toolchain

TEXT = """#include <string.h>
#include <time.h>
#include <math.h>
double f(const char *s) { struct timespec t; clock_gettime(0, &t); return pow((double)strlen(s), (double)t.tv_sec); }
"""


def library(folder: Path, triple: str, *options: str) -> Path:
    (folder / "f.c").write_text(TEXT)
    tool = zig()
    # As the product links, whose C libraries are in the cache.
    link = [*tool.link_flags(parse(triple)), "-O3", "-shared", "-fPIC", *options, "f.c", "-o", "f.so", "-lm"]
    tool.run(link, cwd=folder)
    return folder / "f.so"


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("elf"), "x86_64-linux-gnu")


@installed("readelf")
@pytest.mark.parametrize(("triple", "machine"), [("x86_64-linux-gnu", 62), ("arm-linux-gnueabihf", 40)])
def test_as_readelf_reads(triple: str, machine: int, tmp_path: Path) -> None:
    path = library(tmp_path, triple, "-Wl,-z,max-page-size=65536")
    found = ElfLibrary.read(path)
    told = subprocess.run(["readelf", "-dVlW", path], capture_output=True, text=True, check=True).stdout
    assert found.machine == machine
    assert list(found.needed) == re.findall(r"\(NEEDED\).*\[(.*)\]", told)
    assert found.versions == set(re.findall(r"Name: (GLIBC_\S+)", told)) and found.versions
    assert found.page_bytes == min(int(a, 16) for a in re.findall(r"^ +LOAD .* (0x[0-9a-f]+)$", told, re.MULTILINE))
    assert found.page_bytes == 65536
    assert found.glibc is not None and (2, 2) <= found.glibc <= (2, 17)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), places=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=4))
def test_damaged(native: Path, tmp_path: Path, cut: float, places: list[tuple[int, int]]) -> None:
    data = bytearray(native.read_bytes())
    for at, value in places:
        data[at % len(data)] = value
    path = tmp_path / "damaged.so"
    path.write_bytes(data[: int(len(data) * cut)] if cut < 0.9 else data)
    try:
        ElfLibrary.read(path)
    except ArtifactError as error:
        assert "is no ELF file" in str(error)


def mach_o(*commands: tuple[int, ...]) -> bytes:
    """A header and load commands, each of 16 bytes or more."""
    body = b"".join(struct.pack(f"<{len(c) + 1}I", c[0], 4 * (len(c) + 1), *c[1:]) for c in commands)
    return struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 6, len(commands), len(body), 0, 0) + body


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (mach_o((0x19, 0, 0, 0), (0x32, 1, 0x000B0000, 0x001B0000)), (11, 0)),
        (mach_o((0x24, 0x000A0D01, 0)), (10, 13)),
        (mach_o((0x19, 0, 0)), "no version"),
        (mach_o((0x32, 1, 0x000B0000, 0))[:40], "is no library for macOS"),
        (b"\x7fELF" + bytes(60), "wrong magic"),
        (b"", "is no library for macOS"),
    ],
)
def test_versions_of_macos(data: bytes, version: tuple[int, int] | str, tmp_path: Path) -> None:
    path = tmp_path / "f.dylib"
    path.write_bytes(data)
    if isinstance(version, tuple):
        assert oldest_macos(path) == version
        return
    with pytest.raises(ArtifactError, match=version):
        oldest_macos(path)
