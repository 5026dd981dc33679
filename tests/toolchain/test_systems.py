"""Programs for other systems: what their files say about themselves. None of these runs here."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edgesmith import api
from edgesmith.codegen import generate
from edgesmith.device import Artifact, Emulator, runnable
from edgesmith.errors import TargetError
from edgesmith.frontend.onnx import read
from edgesmith.packaging.elf import ElfLibrary
from edgesmith.passes import optimize
from edgesmith.plan import make_plan
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.toolchain.compiler import FLAGS
from edgesmith.toolchain.linking import BIONIC, library_options, program_options
from small_networks import residual_network

pytestmark = pytest.mark.toolchain
ARM64_ELF, X86_64_COFF, ARM64_MACH_O = 183, 0x8664, 0x0100000C


def built(target: str, output: Path) -> Artifact:
    return api.compile(
        residual_network(), target=target, output=output, cache=False, verify=False, emit=["shared"], tune="off"
    )


def symbols_of_elf(path: Path) -> tuple[set[str], set[str]]:
    """Names of the dynamic symbols that a 64-bit library defines, and of those that it needs."""
    data = path.read_bytes()
    at, size, count = *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, at + i * size) for i in range(count)]
    (table,) = (s for s in sections if s[1] == 11)  # SHT_DYNSYM
    strings = sections[table[6]][4]
    defined, needed = set(), set()
    for i in range(1, table[5] // 24):
        name, info, _, section = struct.unpack_from("<IBBH", data, table[4] + 24 * i)
        text = data[strings + name : data.index(b"\0", strings + name)].decode()
        if info >> 4:  # not local
            (needed if section == 0 else defined).add(text)
    return defined, needed


def symbols_of_coff(path: Path) -> dict[str, int]:
    """Section of each external symbol of an object; 0 where another one defines it."""
    data = path.read_bytes()
    machine, _, _, at, count = struct.unpack_from("<HHIII", data, 0)
    assert machine == X86_64_COFF
    strings, found, i = at + 18 * count, {}, 0
    while i < count:
        raw, _, section, _, kind, more = struct.unpack_from("<8sIhHBB", data, at + 18 * i)
        zeros, offset = struct.unpack("<II", raw)
        name = raw.rstrip(b"\0") if zeros else data[strings + offset : data.index(b"\0", strings + offset)]
        if kind == 2:  # external
            found[name.decode()] = section
        i += 1 + more
    return found


def test_a_library_for_android(tmp_path: Path) -> None:
    """It asks libc.so for functions that the stub promises, and can be loaded with pages of 16 KiB."""
    artifact = built("aarch64-linux-android", tmp_path / "out")
    library = ElfLibrary.read(artifact.library)
    assert (library.machine, library.needed, library.versions) == (ARM64_ELF, ("libc.so",), frozenset())
    assert library.page_bytes == 16384
    defined, needed = symbols_of_elf(artifact.library)
    name = artifact.name
    assert defined >= {f"{name}_run", f"{name}_init", "es_pool_create"}
    assert all(s.startswith((f"{name}_", "es_pool_")) for s in defined) and needed <= set(BIONIC)


def test_android_keeps_x18() -> None:
    assert "-ffixed-x18" in zig().flags(parse("aarch64-linux-android"))
    assert "-ffixed-x18" not in zig().flags(parse("x86_64-linux-android")) + zig().flags(parse("aarch64-linux-musl"))
    target = parse("aarch64-linux-android")
    assert target.is_static and "-static" in program_options(target, Path("objects"))
    with pytest.raises(TargetError, match="use arm-linux-gnueabihf, arm-linux-musleabihf"):
        parse("arm-linux-androideabi")


def test_a_library_for_macos(tmp_path: Path) -> None:
    artifact = built("aarch64-macos", tmp_path / "out")
    assert artifact.library.name == f"lib{artifact.name}.dylib"
    data = artifact.library.read_bytes()
    magic, machine, _, kind, commands, _, _, _ = struct.unpack_from("<8I", data, 0)
    assert (magic, machine, kind) == (0xFEEDFACF, ARM64_MACH_O, 6)  # a dynamic library
    at, named, loaded = 32, "", set()
    for _ in range(commands):
        command, size = struct.unpack_from("<II", data, at)
        if command in (0xC, 0xD):  # a library that it needs, its own name
            offset = struct.unpack_from("<I", data, at + 8)[0]
            text = data[at + offset : at + size].split(b"\0")[0].decode()
            named, loaded = (text, loaded) if command == 0xD else (named, loaded | {text})
        at += size
    assert named == f"@rpath/{artifact.library.name}" and loaded <= {"/usr/lib/libSystem.B.dylib"}
    weights = (artifact.path / "src" / "weights.bin").read_bytes()
    assert weights in data and data.index(weights) % 64 == 0
    assert not runnable(artifact.target)
    with pytest.raises(TargetError, match="no emulator of macos"):
        Emulator.of(artifact.target)


def test_objects_for_windows(tmp_path: Path) -> None:
    """Linking takes the C library, which takes minutes to compile; this is what the linker is given."""
    target = parse("x86_64-windows-gnu+avx2")
    graph, _ = optimize(read(residual_network()))
    package = generate(make_plan(graph, target, only=["portable", "copy"]), "net", "test")
    package.write(tmp_path)
    for file in ("net.c", "weights.c", "es_pool.c", "es_session.c", "es_run.c", "es_tensor_file.c"):
        zig().run([*zig().flags(target), *FLAGS, "-Werror", "-c", file, "-o", f"{file}.o"], cwd=tmp_path)
    model, weights, pool = (symbols_of_coff(tmp_path / f"{f}.c.o") for f in ("net", "weights", "es_pool"))
    writing = symbols_of_coff(tmp_path / "es_tensor_file.c.o")
    assert weights["net_weights"] > 0 and model["net_weights"] == 0 and model["net_run"] > 0
    assert b".scratch." not in (tmp_path / "weights.c.o").read_bytes(), "the same source gives the same bytes"
    exported = (tmp_path / "net.c.o").read_bytes().count(b"-export:")
    assert exported == (tmp_path / "net.h").read_text().count("ES_API") and pool["es_pool_create"] > 0
    assert b"-export:" not in (tmp_path / "es_session.c.o").read_bytes()
    assert "__imp_MoveFileExA" in writing and "rename" not in writing, "rename does not replace there"
    options = library_options(target, Path("out/net.dll"), Path("objects"))
    assert "-Wl,--out-implib,out/net.lib" in options


def test_names_of_files() -> None:
    names = {
        triple: (system.shared.format("net"), system.static.format("net"), system.executable.format("net"))
        for triple in ("x86_64-windows-gnu", "aarch64-macos", "aarch64-linux-android", "aarch64-linux-gnu")
        for system in [parse(triple).system]
    }
    assert names == {
        "x86_64-windows-gnu": ("net.dll", "libnet.a", "net.exe"),
        "aarch64-macos": ("libnet.dylib", "libnet.a", "net"),
        "aarch64-linux-android": ("libnet.so", "libnet.a", "net"),
        "aarch64-linux-gnu": ("libnet.so", "libnet.a", "net"),
    }
