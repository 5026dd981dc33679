"""The package of a program that picks among instruction sets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest

from edgesmith.codegen import Package, generate, generate_variants
from edgesmith.frontend.onnx import read
from edgesmith.passes import optimize
from edgesmith.plan import Plan, make_plan
from edgesmith.target import variants
from small_networks import residual_network

ARM = ("aarch64-linux-gnu", ("neon", "dotprod"))
X86 = ("x86_64-linux-gnu", ("sse2", "avx2", "amx"))


@cache
def plans(target: str, isas: Sequence[str], only: Sequence[str] | None = None) -> dict[str, Plan]:
    graph, _ = optimize(read(residual_network()))
    return {t.variant: make_plan(graph, t, only=only) for t in variants(target, isas)}


@pytest.fixture(scope="module")
def arm() -> Package:
    return generate_variants(plans(*ARM), "net", "test")


@pytest.fixture(scope="module")
def x86() -> Package:
    return generate_variants(plans(*X86), "net", "test")


def test_the_same_plans_give_the_same_bytes(arm: Package) -> None:
    again = generate_variants(plans(*ARM), "net", "test")
    assert again.files == arm.files and again.build == arm.build


def test_a_variant_has_the_kernels_of_its_own_package(x86: Package) -> None:
    """In a folder of its own, under names that carry its set; nothing of it is exported."""
    single = generate(plans(*X86)["avx2"], "net", "test")
    assert x86.variants["avx2"].functions == single.functions and "__avx2_net_" in single.functions[0]
    for file in (f for f in single.files if f.startswith(("kernels_", "es_kernels", "es_simd"))):
        assert x86.files[f"avx2/{file}"] == single.files[file]
    header = x86.files["avx2/net__avx2.h"].decode()
    assert "int32_t net__avx2_run(" in header and "ES_API" not in header
    assert not {*x86.variants["avx2"].functions} & {*x86.variants["amx"].functions}


def test_equal_weights_are_stored_once(x86: Package) -> None:
    """Kernels that do not depend on the set want the same; others share what they do not rearrange."""
    same = generate_variants(plans(*ARM, only=("portable", "copy")), "net", "test")
    assert {v.weights.nbytes for v in same.variants.values()} == {same.weights.nbytes}
    parts = [p.weights.nbytes for p in x86.variants.values()]
    assert max(parts) < x86.weights.nbytes < sum(parts)


def test_the_dispatcher_asks_for_what_each_variant_needs(arm: Package, x86: Package) -> None:
    text = arm.files["net.c"].decode()
    assert text.index('{"dotprod"') < text.index('{"neon"')
    assert "static int32_t neon_runs_here(void) {\n    return 1;" in text and "es_auxiliary(16, 20" in text
    text = x86.files["net.c"].decode()
    assert "amx_may_use_amx()" in text and text.count("es_saves(0x6)") == 2 and "#include <unistd.h>" in text
    assert "es_tiles_granted" not in text


def test_other_packages_have_none_of_this(x86: Package) -> None:
    single = generate(plans(*X86)["avx2"], "net", "test")
    assert "es_processor.h" in x86.files and "es_processor.h" not in single.files
    assert not single.variants and b"use_variant" not in single.files["net.h"]
