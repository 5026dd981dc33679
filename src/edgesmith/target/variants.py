"""Several instruction sets of one machine, for a program that picks among them when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgesmith.errors import TargetError
from edgesmith.target.isa import ISAS
from edgesmith.target.system import WASM
from edgesmith.target.target import Target, parse

__all__ = ["baseline_of", "variants"]

SYSTEMS = ("linux", "android", "macos", "windows")
"""Those that tell a program what its processor has."""


def variants(text: str, names: Sequence[str]) -> tuple[Target, ...]:
    """The targets that a program for ``text`` is compiled for with each of some instruction sets, best first.

    A set is better than those that it contains; of others, the one with more sets inside or wider vectors. Compilers
    are told the sets and no processor, so that each variant runs wherever its set is.

    Args:
        text: as ``parse`` takes it, without instruction sets.
        names: of instruction sets, or ``portable`` for plain C.

    Raises:
        TargetError: a set is unknown, of another architecture, lacking on this machine or device, or named twice; or
            programs cannot tell whether a processor has it.
    """
    if "+" in text:
        raise TargetError("names an instruction set already", where=text, hint=f"--target {text.partition('+')[0]}")
    whole = parse(text)
    if whole.system.object_format == WASM:
        why = "engines refuse a whole module where they lack one of its instructions, so it holds one set"
        raise TargetError(
            why, where=text, hint="compile a module for each set, and load the first that the engine takes"
        )
    if whole.system.name not in SYSTEMS:
        raise TargetError("programs for it cannot ask what the processor has", where=text, hint="compile for one set")
    found = {}
    for name in names:
        target = parse(f"{whole.triple if text == 'portable' else text}+{name}")
        target = replace(target, cpu=ISAS[name].processor if target.isa else "")
        unknown = [i for i in target.isas if not (ISAS[i].baseline or ISAS[i].detect)]
        if unknown:
            raise TargetError(f"programs cannot tell whether a processor has {unknown[0]}", where=text)
        if name in found:
            raise TargetError(f"{name} is named twice", where="--isa")
        found[name] = target
    return tuple(sorted(found.values(), key=lambda t: (-len(t.isas), -t.lanes, str(t))))


def baseline_of(target: Target) -> Target:
    """The same machine with what every processor of its architecture has."""
    plain = parse(target.triple)
    return replace(target, isas=plain.isas, cpu=plain.cpu)
