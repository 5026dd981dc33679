"""Objects of earlier builds: found again, the same bytes as compiled ones, and never taken for others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from edgesmith import knobs
from edgesmith.c.vector import header
from edgesmith.codegen.weights_source import weights_source
from edgesmith.errors import CompilerFailed
from edgesmith.target import parse
from edgesmith.toolchain import Compiler, build, zig
from edgesmith.toolchain.compiler import FLAGS, system
from edgesmith.toolchain.kept import KeptObjects, may_keep
from edgesmith.toolchain.objects import compile_objects

pytestmark = pytest.mark.toolchain

SIMD = (
    "#ifndef ES_SIMD_H\n#define ES_SIMD_H\n#include <stdint.h>\nstatic inline int32_t one(void) { return 1; }\n#endif\n"
)
KERNEL = '#include "es_simd.h"\n#include "more.h"\nint f(int x) { return x + one() + MORE; }\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, but for the compiler's libraries."""
    libraries = knobs.CACHE_DIR() / "zig"
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "zig").symlink_to(libraries)
    monkeypatch.setenv(knobs.CACHE_DIR.name, str(folder))
    return folder


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the compiler is called for: C files, and headers."""
    calls: list[str] = []
    run = Compiler.run

    def counted(self: Compiler, arguments: Sequence[str], **more: Any) -> str:
        calls.extend(a for a in arguments if a.endswith((".c", "es_simd.h")))
        return run(self, arguments, **more)

    monkeypatch.setattr(Compiler, "run", counted)
    yield calls


def small(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, text in (("es_simd.h", SIMD), ("more.h", "#define MORE 2\n"), ("a.c", KERNEL), ("b.c", "int b;\n")):
        (folder / name).write_text(text)
    return folder


def made(source: Path, output: Path, target: str = "portable", extra: Sequence[str] = ()) -> bytes:
    return build(source, output, "net", parse(target), zig(), extra=extra)["static"].read_bytes()


@pytest.mark.parametrize(
    "target",
    [
        "native",
        "aarch64-linux-gnu+neon",
        "stm32f746",
        "x86_64-windows-gnu+avx2",
        "aarch64-macos",
        "wasm32-wasi+simd128",
    ],
)
def test_kept_objects_are_those_of_the_compiler(
    target: str, tmp_path: Path, cache: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool, told = zig(), [*zig().flags(parse(target)), *FLAGS]
    found = []
    for place, limit in (("plain", 0), ("empty", 1000), ("filled", 1000)):
        monkeypatch.setenv(knobs.CACHE_MB.name, str(limit))
        source = small(tmp_path / place)
        text = header(parse(target))
        (source / "es_simd.h").write_text(f"#ifndef ES_SIMD_H\n#define ES_SIMD_H\n{text}\n#endif\n")
        (source / "es_bare.h").write_bytes(
            (resources.files("edgesmith.codegen") / "runtime" / "es_bare.h").read_bytes()
        )
        (source / "a.c").write_text(KERNEL.replace("one()", "(int)es_exp2_biased_f32(128.0f)"))
        (source / "weights.bin").write_bytes(bytes(range(64)))
        (source / "weights.c").write_text(weights_source("weights", parse(target).system.object_format))
        compiled.clear()
        jobs = {path: (told, path.with_suffix(".o")) for path in sorted(source.glob("*.c"))}
        done: list[None] = []
        compile_objects(tool, source, jobs, (), lambda done=done: done.append(None))
        assert len(done) == 3
        assert compiled.count("es_simd.h") == (place == "empty" and "es_bare.h" not in text), "read once"
        assert (compiled == ["weights.c"]) == (place == "filled"), "what includes another file is compiled every time"
        found.append([made.read_bytes() for _, made in jobs.values()])
    assert found[0] == found[1] == found[2]


def test_whatever_an_object_is_made_of_decides(tmp_path: Path, cache: Path, compiled: list[str]) -> None:
    source = small(tmp_path / "src")
    first = made(source, tmp_path / "1")
    compiled.clear()
    assert made(source, tmp_path / "2") == first and compiled == []
    (source / "more.h").write_text("#define MORE 3\n")
    assert made(source, tmp_path / "3") != first and compiled == ["a.c"]
    (source / "more.h").write_text("#define MORE 2\n")
    compiled.clear()
    assert made(source, tmp_path / "4") == first and compiled == []
    made(source, tmp_path / "5", extra=["-DOTHER=1"])
    assert sorted(compiled) == ["a.c", "b.c", "es_simd.h"]
    compiled.clear()
    made(source, tmp_path / "6", "aarch64-linux-gnu")
    assert sorted(compiled) == ["a.c", "b.c", "es_simd.h"]
    (source / "b.c").rename(source / "c.c")
    compiled.clear()
    made(source, tmp_path / "7")
    assert compiled == ["c.c"], "objects hold the name of their file"


def test_a_damaged_object_or_header_is_made_anew(tmp_path: Path, cache: Path, compiled: list[str]) -> None:
    source = small(tmp_path / "src")
    first = made(source, tmp_path / "1")
    for entry in (cache / "objects").iterdir():
        entry.write_bytes(entry.read_bytes()[:-1])
    (header,) = (cache / "headers").glob("*/*.pch")
    header.write_bytes(b"x")
    compiled.clear()
    assert made(source, tmp_path / "2") == first and sorted(set(compiled)) == ["a.c", "b.c"]
    compiled.clear()
    assert made(source, tmp_path / "3") == first and compiled == []


def test_an_error_is_told_as_without_a_cache(tmp_path: Path, cache: Path) -> None:
    source = small(tmp_path / "src")
    (source / "a.c").write_text(KERNEL.replace("MORE;", "LESS;"))
    with pytest.raises(CompilerFailed, match=r"a\.c:3.*LESS"):
        made(source, tmp_path / "out")
    assert not list((tmp_path / "cache" / "objects").glob(".*"))


def test_what_depends_on_more_than_the_files_is_not_kept(
    tmp_path: Path, cache: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = small(tmp_path / "src")
    for i in range(2):
        made(source, tmp_path / f"{i}", extra=["-isystem", str(tmp_path)])
    assert sorted(compiled) == ["a.c", "a.c", "b.c", "b.c"] and not (cache / "objects").exists()
    assert may_keep(zig(), ["-Werror", "-fsanitize=address", "-DX=1"])
    assert not may_keep(zig(), ["-fprofile-use=/tmp/data"])
    assert not may_keep(system("gcc"), []), "its headers are the system's"
    monkeypatch.setenv("CPATH", str(tmp_path))
    assert not may_keep(zig(), [])


def test_no_cache_is_no_error(tmp_path: Path, cache: Path) -> None:
    for part in ("objects", "headers"):
        (cache / part).write_text("")
    assert made(small(tmp_path / "src"), tmp_path / "out")


def test_builds_at_once_and_objects_that_leave(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knobs.CACHE_MB.name, "1")
    sources = [small(tmp_path / f"src{i}") for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda s: made(s, tmp_path / f"out-{s.name}"), sources))
    assert len(set(found)) == 1
    kept = KeptObjects(zig())
    for i in range(3):
        (tmp_path / "object").write_bytes(bytes([i]) * (500 << 10))
        kept.insert(f"{i}" * 64, tmp_path / "object")
        os.utime(cache / "objects" / (f"{i}" * 64), (i, i))
    assert kept.find("0" * 64, tmp_path / "found") and (tmp_path / "found").read_bytes() == bytes(500 << 10)
    kept.evict()
    left = {p.name[0] for p in (cache / "objects").iterdir() if len(set(p.name)) == 1}
    assert left == {"0", "2"}, "the newest, and the one that was used last"
