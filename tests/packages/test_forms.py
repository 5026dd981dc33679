"""Packages do what the artifact does, on tools and in folders of their own, and are the same bytes every time."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgesmith.device import Artifact, load
from edgesmith.errors import ArtifactError, BadInput, CompilerFailed
from edgesmith.packaging import FORMS, PACKAGES, pack
from edgesmith.packaging.compiler_options import pragmas
from edgesmith.packaging.elf import ElfLibrary
from edgesmith.packaging.forms.wheel import module_name
from edgesmith.packaging.sources import Sources
from edgesmith.recipe import PARTS
from edgesmith.target import ISAS, parse
from edgesmith.toolchain.compiler import processor_options, zig

from .conftest import IDENTIFIER, compiled, installed, small_model, unpacked

pytestmark = pytest.mark.toolchain


def test_wheel_in_a_fresh_environment(
    packages: dict[str, Path], feeds: dict[str, np.ndarray], results: bytes, tmp_path: Path
) -> None:
    """It needs numpy and nothing else, and gives the artifact's bits."""
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    install = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    done = subprocess.run(
        [*install, "install", "--no-deps", "--no-index", packages["wheel"]], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    for folder in Path(np.__file__).parents[1].glob("numpy*"):
        (site / folder.name).symlink_to(folder)
    np.savez(tmp_path / "feeds.npz", **feeds)
    command = [python, Path(__file__).with_name("use_wheel.py"), IDENTIFIER, tmp_path / "feeds.npz", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == results


def test_wheel_names_its_platform(packages: dict[str, Path], artifact: Artifact) -> None:
    arch = artifact.target.arch
    assert packages["wheel"].name == f"{IDENTIFIER}-2.3.1-py3-none-manylinux_2_17_{arch}.whl"
    library = ElfLibrary.read(artifact.library)
    assert library.glibc is None or library.glibc <= (2, 17)


@installed("gcc")
def test_wheel_of_a_newer_c_library_says_so(artifact: Artifact, tmp_path: Path) -> None:
    """A library that was built with this machine's compiler needs the versions that it is linked with."""
    copy = Artifact(shutil.copytree(artifact.path, tmp_path / "copy"))
    parts = [copy.path / "src" / f for f in Sources.of(copy).library]
    command = ["gcc", "-shared", "-fPIC", *processor_options(copy.target), *parts, "-o", copy.library]
    subprocess.run(command, cwd=copy.path / "src", check=True)
    path = FORMS["wheel"].write(copy, "1.0", tmp_path)
    needs = max(ElfLibrary.read(copy.library).glibc or (2, 17), (2, 17))
    assert path.name.endswith(f"manylinux_{needs[0]}_{needs[1]}_{copy.target.arch}.whl")


@pytest.mark.parametrize(
    ("name", "module"),
    [("class", "net_class"), ("json", "net_json"), ("numpy", "net_numpy"), ("mobilenet_v2", "mobilenet_v2")],
)
def test_modules_hide_no_others(name: str, module: str) -> None:
    assert module_name(name) == module


@pytest.mark.parametrize("compiler", [pytest.param(c, marks=installed(c)) for c in ("gcc", "clang")])
def test_header_only(packages: dict[str, Path], program: str, results: bytes, compiler: str, tmp_path: Path) -> None:
    """One file beside the program, no options for the processor, and names that the model uses inside are free."""
    header = shutil.copy(packages["header-only"], tmp_path)
    assert Path(header).name == f"{IDENTIFIER}.h"
    own = "static int step(int call) { return call; }\ntypedef int operand;\nenum { STEPS = 1 };\n"
    text = f'#define {IDENTIFIER.upper()}_IMPLEMENTATION\n#include "{IDENTIFIER}.h"\n{own}{program}'
    (tmp_path / "app.c").write_text(text.replace("const size_t", "(void)step((operand)STEPS);\n    const size_t", 1))
    for words in (["-O1", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"], ["-O0"]):
        threads = [] if "-pthread" in words else [f"-D{IDENTIFIER.upper()}_NO_THREADS"]
        subprocess.run([compiler, *words, *threads, "app.c", "-o", "app", "-lm"], cwd=tmp_path, check=True)
        assert subprocess.run([tmp_path / "app"], capture_output=True, check=True).stdout == results


@installed("g++", "gcc")
def test_header_only_in_cpp(packages: dict[str, Path], program: str, results: bytes, tmp_path: Path) -> None:
    """C++ includes the declarations; what would compile the implementation as C++ is told what to do."""
    shutil.copy(packages["header-only"], tmp_path)
    include, define = f'#include "{IDENTIFIER}.h"\n', f"#define {IDENTIFIER.upper()}_IMPLEMENTATION\n"
    (tmp_path / "app.cc").write_text(include + program)
    (tmp_path / "model.c").write_text(define + include)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["g++", *flags, "-c", "app.cc"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "-c", "model.c"], cwd=tmp_path, check=True)
    subprocess.run(["g++", "app.o", "model.o", "-o", "app", "-pthread"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "app"], capture_output=True, check=True).stdout == results
    (tmp_path / "wrong.cc").write_text(define + include)
    done = subprocess.run(["g++", *flags, "-c", "wrong.cc"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "in a file that is compiled as C" in done.stderr
    (tmp_path / "twice.c").write_text(define + include + define + include)
    done = subprocess.run(["gcc", "-c", "twice.c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "one file holds the implementation of one model" in done.stderr


def test_header_only_for_another_processor(artifact: Artifact, packages: dict[str, Path], tmp_path: Path) -> None:
    """Without the right processor, the reason comes first."""
    shutil.copy(packages["header-only"], tmp_path)
    (tmp_path / "model.c").write_text(f'#define {IDENTIFIER.upper()}_IMPLEMENTATION\n#include "{IDENTIFIER}.h"\n')
    other = "aarch64" if artifact.target.arch == "x86_64" else "x86_64"
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{other}-linux-gnu", "-c", "model.c"]
    done = subprocess.run(zig, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and f"was made for {artifact.target}" in done.stderr


@pytest.mark.parametrize(
    ("target", "less"),
    [
        ("riscv64-linux-gnu+rvv256", "riscv64-linux-gnu+rvv128"),
        ("riscv64-linux-gnu+rvv128", "riscv64-linux-gnu"),
        ("arm-linux-gnueabihf+neon32", "arm-linux-gnueabihf"),
        ("wasm32-wasi+relaxed_simd", "wasm32-wasi+simd128"),
    ],
)
def test_who_compiles_without_the_instructions_is_told(target: str, less: str, tmp_path: Path) -> None:
    """Where a file cannot ask for them by itself."""
    (tmp_path / "net.c").write_text(f"{pragmas(parse(target), 'net.h').check}int net;\n")
    tool = zig()
    tool.run([*tool.flags(parse(target)), "-c", "net.c"], cwd=tmp_path)
    with pytest.raises(CompilerFailed, match=" ".join(("compile with", *processor_options(parse(target))))):
        tool.run([*tool.flags(parse(less)), "-c", "net.c"], cwd=tmp_path)


@installed("gcc", "clang")
def test_source(packages: dict[str, Path], tmp_path: Path) -> None:
    """The page's commands build it, without a warning, with the weights by the assembler or as an array."""
    folder = unpacked(packages["source"], tmp_path)
    assert folder.name == f"{IDENTIFIER}-2.3.1"
    library, archive, array, program = [
        next(line for line in (folder / "README.md").read_text().splitlines() if line.startswith(start))
        for start in ("cc @options -c", "ar rcs", "cc tools/", "cc @options -DES_WEIGHTS_ARRAY")
    ]
    for compiler, commands in (("clang", [library, archive]), ("gcc", [array, program])):
        for command in commands:
            words = command.replace("cc ", f"{compiler} -Wall -Wextra -Wpedantic -Werror ", 1)
            subprocess.run(words.replace("@options", "@options -O0"), cwd=folder, shell=True, check=True)
    assert (folder / f"lib{IDENTIFIER}.a").is_file()
    done = subprocess.run([folder / IDENTIFIER, "--selftest"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("selftest passed\n")


@installed("cmake", "gcc")
def test_source_with_cmake(packages: dict[str, Path], program: str, results: bytes, tmp_path: Path) -> None:
    """As part of another project, in a folder with a space."""
    unpacked(packages["source"], tmp_path / "third party")
    (tmp_path / "app.c").write_text(f'#include "{IDENTIFIER}.h"\n{program}')
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\n"
        f'add_subdirectory("third party/{IDENTIFIER}-2.3.1" EXCLUDE_FROM_ALL)\n'
        f"add_executable(app app.c)\ntarget_link_libraries(app {IDENTIFIER}::{IDENTIFIER})\n"
    )
    for command in (["cmake", "-S", ".", "-B", "build"], ["cmake", "--build", "build"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([tmp_path / "build" / "app"], capture_output=True, check=True).stdout == results


@installed("pkg-config", "gcc")
@pytest.mark.parametrize("kind", ["shared", "static"])
def test_pkg_config(artifact: Artifact, program: str, results: bytes, kind: str, tmp_path: Path) -> None:
    """The artifact's own file, wherever the artifact lies."""
    moved = shutil.copytree(artifact.path, tmp_path / "moved")
    if kind == "static":
        artifact_library = moved / artifact.library.name
        artifact_library.unlink()
    (tmp_path / "app.c").write_text(f'#include "{IDENTIFIER}.h"\n{program}')
    found = {**os.environ, "PKG_CONFIG_PATH": str(moved / "lib" / "pkgconfig"), "LD_LIBRARY_PATH": str(moved)}
    how = ["--static"] if kind == "static" else []
    asked = ["pkg-config", *how, "--cflags", "--libs", f"{IDENTIFIER} >= 1.0"]
    words = subprocess.run(asked, env=found, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["gcc", "app.c", *words, "-o", "app"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "app"], env=found, capture_output=True, check=True).stdout == results


def test_same_bytes(artifact: Artifact, packages: dict[str, Path], tmp_path: Path) -> None:
    again = pack(artifact, packages, tmp_path / "deeper" / "again", "2.3.1")
    assert {f: p.name for f, p in again.items()} == {f: p.name for f, p in packages.items()}
    assert all(again[form].read_bytes() == packages[form].read_bytes() for form in packages)


def test_wheel_and_header_for_aarch64(tmp_path: Path) -> None:
    """Packages for another machine: the right tag, the right file, and code that asks for its instructions."""
    other = compiled(
        tmp_path / "out", small_model(), target="aarch64-linux-gnu+dotprod", verify=False, emit=("wheel", "header-only")
    )
    made = sorted((other.path / PACKAGES).iterdir())
    assert [p.name for p in made] == [f"{IDENTIFIER}-1.0.0-py3-none-manylinux_2_17_aarch64.whl", f"{IDENTIFIER}.h"]
    with zipfile.ZipFile(made[0]) as archive:
        archive.extract(f"{IDENTIFIER}/lib{IDENTIFIER}.so", tmp_path)
    assert ElfLibrary.read(tmp_path / IDENTIFIER / f"lib{IDENTIFIER}.so").machine == 183
    (tmp_path / "model.c").write_text(f'#define {IDENTIFIER.upper()}_IMPLEMENTATION\n#include "{made[1]}"\n')
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu", "-c", "-Werror", "model.c"]
    done = subprocess.run(zig, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_android(tmp_path: Path) -> None:
    """What Gradle and Prefab look for, and a library that needs nothing but Android's C library."""
    made = compiled(tmp_path / "out", small_model(), target="aarch64-linux-android", verify=False, emit=("android",))
    (path,) = (made.path / PACKAGES).iterdir()
    assert path.name == f"{IDENTIFIER}-1.0.0-arm64-v8a.aar"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    manifest = ElementTree.parse(tmp_path / "AndroidManifest.xml").getroot()
    assert manifest.get("package") == f"edgesmith.model_{IDENTIFIER}"
    assert json.loads((tmp_path / "prefab" / "prefab.json").read_text())["name"] == IDENTIFIER
    module = tmp_path / "prefab" / "modules" / IDENTIFIER
    assert json.loads((module / "module.json").read_text())["library_name"] == f"lib{IDENTIFIER}"
    assert {p.name for p in (module / "include").iterdir()} >= {f"{IDENTIFIER}.h", "es_abi.h", "es_model.hpp"}
    abi = json.loads((module / "libs" / "android.arm64-v8a" / "abi.json").read_text())
    assert abi["abi"] == "arm64-v8a" and abi["stl"] == "none"
    name = f"lib{IDENTIFIER}.so"
    libraries = [tmp_path / "jni" / "arm64-v8a" / name, module / "libs" / "android.arm64-v8a" / name]
    assert libraries[0].read_bytes() == libraries[1].read_bytes()
    library = ElfLibrary.read(libraries[0])
    assert (library.machine, library.page_bytes, library.versions) == (183, 16384, frozenset())
    with pytest.raises(ArtifactError, match="there is no Python for aarch64-linux-android"):
        pack(made, ["wheel"], tmp_path)


def test_several_variants(artifact: Artifact, tmp_path: Path) -> None:
    """The wheel asks for what every variant needs; forms of one instruction set say what to do instead."""
    copy = shutil.copytree(artifact.path, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    here, baseline = parse("native"), parse(parse("native").triple)
    manifest["variants"] = {t.variant: {"target": str(t), "isas": list(t.isas)} for t in (here, baseline)}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    several = Artifact(copy)
    with zipfile.ZipFile(pack(several, ["wheel"], tmp_path)["wheel"]) as archive:
        module = archive.read(f"{IDENTIFIER}/__init__.py").decode()
    flags = {f for i in baseline.isas for f in ISAS[i].cpuinfo}
    assert set(ast.literal_eval(re.findall(r"^_FLAGS.* = (.*)$", module, re.MULTILINE)[0])) == flags
    for form in ("source", "header-only"):
        with pytest.raises(ArtifactError, match="several variants"):
            pack(several, [form], tmp_path)


def test_parts_of_an_artifact(tmp_path: Path) -> None:
    """The executable alone is in one piece; packages are files of the artifact, and everything has its hash."""
    made = compiled(tmp_path / "out", small_model(), emit=("exe", "wheel"), package_version="0.3")
    names = {p.name for p in made.path.iterdir()}
    assert IDENTIFIER in names and not names & {"include", "lib", f"lib{IDENTIFIER}.so", f"lib{IDENTIFIER}.a"}
    assert made.verification and made.verification["ok"]
    alone = shutil.copy(made.executable, tmp_path / "alone")
    assert subprocess.run([alone, "--selftest"], capture_output=True).returncode == 0
    assert [f for f in made.manifest["files"] if f.startswith(PACKAGES)] == [
        f"{PACKAGES}/{p.name}" for p in (made.path / PACKAGES).iterdir()
    ]
    load(made.path).check()
    with pytest.raises(ArtifactError, match="--emit shared,wheel"):
        pack(made, ["wheel"], tmp_path)
    with pytest.raises(ArtifactError, match="has no shared library"):
        made(np.zeros((1, 8), np.float32))


def test_what_cannot_be_packed(artifact: Artifact, tmp_path: Path) -> None:
    for names, message in (
        (["shared"], "is a part of artifacts"),
        (["nonsense"], "'nonsense' is not one of"),
        ([], "nothing to make"),
    ):
        with pytest.raises(BadInput, match=message):
            pack(artifact, names, tmp_path)
    for version in ("1.0-beta", "", "1.", "v1", "1.2.3.4.5"):
        with pytest.raises(BadInput, match="is not a version") if version else pytest.raises(BadInput):
            edited = Artifact(artifact.path)
            edited.manifest["version"] = ""
            pack(edited, ["source"], tmp_path, version)
    with pytest.raises(ArtifactError, match="cannot become android: it is for"):
        pack(artifact, ["android"], tmp_path)
    damaged = Artifact(shutil.copytree(artifact.path, tmp_path / "damaged"))
    (damaged.path / "src" / "weights.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match="was changed"):
        pack(damaged, ["source"], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot write"):
        pack(artifact, ["source"], tmp_path / "file" / "folder")
    assert not list(tmp_path.glob("*.zip"))


def test_every_form_is_explained() -> None:
    from edgesmith.cli.pack import command

    assert set(FORMS) == {"wheel", "source", "header-only", "android"} and not set(FORMS) & set(PARTS)
    assert all(f"\n    {form} " in (command.__doc__ or "") for form in FORMS)


def test_manifest_has_the_version(artifact: Artifact) -> None:
    assert json.loads((artifact.path / "manifest.json").read_text())["version"] == "1.0.0"


def test_what_clang_grants_on_the_command_line_alone() -> None:
    """Its intrinsics of fp16; those of dot products by a pragma too, from version 16 on."""
    assert "clang_major__ < 16" in pragmas(parse("aarch64-linux-gnu+dotprod"), "it").check
    check = pragmas(parse("raspberry-pi-5"), "it").check
    assert "!defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)" in check and "+dotprod+fp16" in check
