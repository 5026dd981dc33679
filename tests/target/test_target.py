"""What names of targets mean."""

from __future__ import annotations

import pytest

from edgesmith.errors import CompilerFailed, TargetError
from edgesmith.target import ISAS, board_of, parse, profiles, runs_here
from edgesmith.target.system import TRIPLES
from edgesmith.toolchain import zig
from edgesmith.toolchain.compiler import Compiler, processor_options


@pytest.mark.parametrize(
    "text, isas",
    [
        ("aarch64-linux-gnu", ("neon",)),
        ("aarch64-linux-musl+dotprod", ("neon", "dotprod")),
        ("aarch64-linux-gnu+dotprod+i8mm", ("neon", "dotprod", "fp16", "i8mm")),
        ("aarch64-linux-gnu+portable", ()),
        ("arm-linux-gnueabihf", ()),
        ("arm-linux-gnueabihf+neon32", ("neon32",)),
        ("riscv64-linux-gnu", ()),
        ("riscv64-linux-gnu+rvv256", ("rvv128", "rvv256")),
        ("wasm32-wasi", ()),
        ("wasm32-wasi+relaxed_simd", ("simd128", "relaxed_simd")),
        ("thumb-freestanding-eabi", ("armv6m",)),
        ("thumb-freestanding-eabihf+fpv5", ("armv6m", "dsp", "fpv4", "fpv5")),
        ("x86_64-linux-gnu", ("sse2",)),
        ("x86_64-linux-gnu+avx2", ("sse2", "sse4", "avx2")),
    ],
)
def test_a_triple_with_instruction_sets(text: str, isas: tuple[str, ...]) -> None:
    target = parse(text)
    assert target.isas == isas
    assert parse(str(target)) == target


@pytest.mark.parametrize("name", profiles())
def test_a_device(name: str) -> None:
    profile, target = profiles()[name], parse(name)
    fastest = profile.clusters[0]
    assert (target.device, target.cpu, target.cores) == (name, fastest.cpu, profile.cores)
    if target.is_bare:
        # Kernels still need to know how much to keep at hand.
        assert 0 < target.l1_bytes <= 16 << 10 < target.l2_bytes
        assert target.ram_bytes >= 256 << 10 and target.flash_bytes >= 512 << 10
        assert board_of(target) is not None and target.core.name == target.cpu
    else:
        assert (target.l1_bytes, target.l2_bytes) == (fastest.l1_bytes, fastest.l2_bytes)
    assert set(profile.isas) <= set(target.isas)
    assert fastest.gigahertz == max(c.gigahertz for c in profile.clusters)
    assert all(s.startswith("https://") for s in profile.sources) and profile.sources


def test_products_of_bytes_that_devices_have() -> None:
    """Cortex-A53, A57 and A72 lack FEAT_DotProd; of the cores Neoverse V1 alone has FEAT_I8MM."""
    with_products = {name for name in profiles() if parse(name).has("dot4_i8")}
    assert with_products == {"raspberry-pi-5", "pixel-6", "rk3568", "rk3588", "apple-m1", "graviton-2", "graviton-3"}
    assert [name for name in profiles() if parse(name).has("dot4")] == ["graviton-3"]


def test_a_device_with_fewer_sets() -> None:
    """A compiler that was told the processor would use the rest."""
    assert parse("raspberry-pi-5+neon").cpu == ""
    assert parse("raspberry-pi-5+fp16") == parse("raspberry-pi-5")
    assert parse("raspberry-pi-5+portable").isas == ()


@pytest.mark.parametrize(
    "text, why",
    [
        ("raspberry-pi-4+dotprod", "raspberry-pi-4 lacks dotprod"),
        ("aarch64-linux-gnu+avx2", "belongs to x86_64"),
        ("aarch64-linux-gnu+sse9", "unknown instruction set"),
        ("portable+avx2", "means no instruction sets"),
        ("toaster", "not a target"),
        ("z80-cpm-none", "not a target"),
        ("wasm32-freestanding", r"(?s)freestanding is no system.*use wasm32-wasi"),
        ("wasm32-linux-gnu", "linux-gnu is no system that programs for wasm32"),
        ("aarch64-linux-foo", r"(?s)linux-foo is no system.*aarch64-linux-gnu, aarch64-linux-musl, .*aarch64-macos"),
        ("aarch64-linux", "linux is no system"),
        ("x86_64-windows-msvc", "use .*x86_64-windows-gnu"),
        ("thumb-freestanding-gnu", "use thumb-freestanding-eabi, thumb-freestanding-eabihf"),
        ("aarch64-", "not a target"),
    ],
)
def test_what_is_no_target(text: str, why: str) -> None:
    with pytest.raises(TargetError, match=why):
        parse(text)


def test_every_triple_is_a_target() -> None:
    for arch, systems in TRIPLES.items():
        for system in systems:
            target = parse(f"{arch}-{system}")
            assert target.arch == arch and target.system.name in system
    assert {isa.arch for isa in ISAS.values()} <= TRIPLES.keys()
    assert all(parse(name).triple.partition("-")[2] in TRIPLES[parse(name).arch] for name in profiles())


def test_what_runs_here() -> None:
    native = parse("native")
    foreign = "x86_64" if native.arch == "aarch64" else "aarch64"
    assert runs_here(native) and runs_here(parse("portable"))
    assert not runs_here(parse(f"{foreign}-linux-gnu"))


def test_what_compilers_are_told() -> None:
    assert zig().flags(parse("aarch64-linux-gnu")) == ["-target", "aarch64-linux-gnu.2.17"]
    assert zig().flags(parse("aarch64-linux-musl+i8mm"))[-1] == "-mcpu=baseline+dotprod+fullfp16+i8mm"
    assert zig().flags(parse("raspberry-pi-5"))[-1] == "-mcpu=cortex_a76+dotprod+fullfp16"
    assert zig().flags(parse("arm-linux-gnueabihf+neon32")) == [
        "-target",
        "arm-linux-gnueabihf.2.17",
        "-mcpu=baseline+v7a+neon+vfp4",
    ]
    assert zig().link_flags(parse("raspberry-pi-5")) == zig().flags(parse("aarch64-linux-gnu"))
    assert "-mavx2" in zig().flags(parse("x86_64-linux-gnu+avx2"))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("x86_64-linux-gnu+avx2", "-mssse3 -msse4.1 -mavx2 -mfma -mf16c -mbmi2"),
        ("x86_64-linux-gnu+portable", ""),
        ("aarch64-linux-gnu", ""),
        ("aarch64-linux-gnu+fp16", "-march=armv8.2-a+dotprod+fp16"),
        ("aarch64-linux-gnu+i8mm", "-march=armv8.2-a+dotprod+fp16+i8mm"),
        ("raspberry-pi-4", "-mcpu=cortex-a72"),
        ("raspberry-pi-5", "-mcpu=cortex-a76+dotprod+fp16"),
        ("arm-linux-gnueabihf+neon32", "-march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard"),
        ("rk3288", "-mcpu=cortex-a17 -mfpu=neon-vfpv4 -mfloat-abi=hard"),
        ("riscv64-linux-gnu+rvv128", "-march=rv64gcv"),
        ("banana-pi-f3", "-march=rv64gcv_zvl256b"),
        ("visionfive-2", "-mcpu=sifive-u74"),
        ("wasm32-wasi+relaxed_simd", "-msimd128 -mrelaxed-simd"),
    ],
)
def test_what_other_compilers_are_told(target: str, words: str) -> None:
    assert " ".join(processor_options(parse(target))) == words


def test_a_compiler_for_this_machine_alone() -> None:
    foreign = "x86_64-linux-gnu" if parse("native").arch == "aarch64" else "aarch64-linux-gnu"
    with pytest.raises(CompilerFailed, match="the target is"):
        Compiler("cc", ("cc",), ("ar",), "1").flags(parse(foreign))


def test_sets_that_every_processor_has() -> None:
    assert {name for name, isa in ISAS.items() if isa.baseline} == {"armv6m", "neon", "sse2"}
