"""How users' compilers build the C of a model: options of GCC and Clang, and what a file can ask for by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesmith.target import Target
from edgesmith.toolchain.compiler import processor_options

__all__ = ["OPTIMIZATION", "Pragmas", "pragmas"]

OPTIMIZATION = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
"""Results are specified without contraction: products and sums are rounded one by one unless the code fuses them."""

_ARCHS = {
    "x86_64": "__x86_64__",
    "aarch64": "__aarch64__",
    "arm": "__arm__",
    "riscv64": "__riscv",
    "wasm32": "__wasm__",
}
"""What compilers define for an architecture."""


@dataclass(frozen=True)
class Pragmas:
    """Lines before and after code that uses a target's instructions; ``check`` stops where they cannot be had."""

    check: str
    push: str
    pop: str


def pragmas(target: Target, title: str) -> Pragmas:
    """What makes a piece of a file compile for a target, whatever the command line says, where compilers know how.

    Args:
        title: who it is that needs the target, for messages.
    """
    check = []
    if target.isa is not None:
        check += [f"#if !defined({_ARCHS[target.arch]})", f'#error "{title} was made for {target}"', "#endif"]
    condition = target.isa.condition if target.isa else ""
    told = " ".join(processor_options(target))
    if condition:
        check += [f"#if !({condition})", f'#error "compile with {told}"', "#endif"]
    if target.arch == "aarch64" and target.features:
        # Older ones declare intrinsics for what the command line names alone; so does every one those of fp16.
        missing = "__clang_major__ < 16 && !defined(__ARM_FEATURE_DOTPROD)"
        if "fp16" in target.features:
            missing = "!defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)"
        missing = f"defined(__clang__) && {missing}"
        check += [f"#if {missing}", f'#error "this Clang needs {told}"', "#endif"]
    gcc, clang = _attributes(target, () if condition else target.features)
    push = ["#if defined(__clang__)", "#pragma STDC FP_CONTRACT OFF", *clang, "#elif defined(__GNUC__)"]
    push += ["#pragma GCC push_options", *gcc]
    push += ['#pragma GCC optimize("fp-contract=off", "no-math-errno", "no-trapping-math")', "#endif"]
    pop = ["#if defined(__clang__)", *(["#pragma clang attribute pop"] if clang else [])]
    pop += ["#elif defined(__GNUC__)", "#pragma GCC pop_options", "#endif"]
    return Pragmas(*("".join(f"{line}\n" for line in lines) for lines in (check, push, pop)))


def _attributes(target: Target, features: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines for GCC and for Clang that grant features to the functions that follow."""
    if not features:
        return [], []
    plus = "+" if target.arch == "aarch64" else ""
    gcc = ",".join(f"{plus}{f}" for f in features)
    clang = ",".join(features)
    return (
        [f'#pragma GCC target("{gcc}")'],
        [f'#pragma clang attribute push(__attribute__((target("{clang}"))), apply_to = function)'],
    )
