"""Cycles that a core takes for executed blocks, by the processor models of ``llvm-mca``.

Each block is costed by itself, as if it ran again and again with everything it reads in the first-level cache. That is
what the loops do that take most of the time; what a block costs that runs between others is taken for what it adds to
them. Misses of caches and of branch prediction are not in it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from edgesmith.counting.counts import Block
from edgesmith.errors import MissingDependency

__all__ = ["Cycles", "cycles", "each_cycles", "loops", "tool"]

NAMES = ("llvm-mca-22", "llvm-mca")
LEAST_VERSION = 22
"""Older versions take other processors for the Neoverse N1."""
DISASSEMBLER = "llvm-mc"
HINT = "Debian: apt install llvm-22"
COVERED = 0.999
"""Share of the instructions whose blocks are costed; the others are taken for as fast as these are on average."""
SIMULATED = 1000
"""Instructions that are simulated of each block, about."""
ROUNDS = (8, 24, 100)
_TRIPLES = {"aarch64": "aarch64", "arm": "armv7", "riscv64": "riscv64"}


@dataclass(frozen=True)
class Cycles:
    """What executed blocks take.

    Args:
        total: cycles.
        covered: share of the instructions whose blocks were costed one by one.
        each: cycles of one round of each such block.
    """

    total: float
    covered: float
    each: Mapping[Block, float]


def tool(name: str = NAMES[1]) -> str:
    """Path of a tool of LLVM 22 or newer; raises ``MissingDependency``."""
    for word in (f"{name}-{LEAST_VERSION}", name):
        path = shutil.which(word)
        if path is not None and _version(path) >= LEAST_VERSION:
            return path
    raise MissingDependency(
        f"{name} of LLVM {LEAST_VERSION} or newer is not installed; it knows what a core takes for instructions",
        hint=HINT,
    )


@cache
def _version(path: str) -> int:
    words = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.split()
    return int(words[words.index("version") + 1].split(".")[0]) if "version" in words else 0


def cycles(executed: Mapping[Block, int], arch: str, model: str) -> Cycles:
    """What a core takes for blocks.

    Args:
        executed: how often each ran.
        arch: of the blocks.
        model: name of the processor model, such as ``cortex-a72``.

    Raises:
        MissingDependency: ``llvm-mca`` is not installed.
    """
    return each_cycles([executed], arch, model)[0]


def each_cycles(runs: Sequence[Mapping[Block, int]], arch: str, model: str) -> list[Cycles]:
    """As ``cycles``, for each of several runs; with fewer calls of the tools."""
    joined = [loops(executed) for executed in runs]
    chosen = [_most(blocks) for blocks in joined]
    each = _costed(list(dict.fromkeys(b for blocks in chosen for b in blocks)), arch, model)
    return [
        _sum(blocks, {b: each[b] for b in wanted if b in each}) for blocks, wanted in zip(joined, chosen, strict=True)
    ]


def _most(blocks: Mapping[Block, int]) -> list[Block]:
    """The blocks that have ``COVERED`` of the instructions."""
    total = sum(b.instructions * n for b, n in blocks.items())
    found: list[Block] = []
    covered = 0
    for block in sorted(blocks, key=lambda b: (-b.instructions * blocks[b], b.address)):
        if covered >= COVERED * total:
            break
        found.append(block)
        covered += block.instructions * blocks[block]
    return found


def _sum(blocks: Mapping[Block, int], each: Mapping[Block, float]) -> Cycles:
    total = sum(b.instructions * n for b, n in blocks.items())
    covered = sum(b.instructions * blocks[b] for b in each)
    spent = sum(each[b] * blocks[b] for b in each)
    return Cycles(spent * total / max(covered, 1), covered / max(total, 1), each)


def loops(executed: Mapping[Block, int]) -> dict[Block, int]:
    """Blocks that the emulator cut, in one piece again: neighbours of which each ran as often as the other.

    Blocks that begin in the middle of another one, because something jumps there, stay as they are.
    """
    by_address = {b.address: b for b in sorted(executed, key=lambda b: b.instructions)}
    found: dict[Block, int] = {}
    taken: set[Block] = set()
    for block in sorted(executed, key=lambda b: b.address):
        if block in taken:
            continue
        runs, whole = executed[block], block
        while True:
            following = by_address.get(whole.end)
            if following is None or following in taken or executed[following] != runs or following == block:
                break
            taken.add(following)
            whole = Block(whole.address, whole.instructions + following.instructions, whole.code + following.code)
        found[whole] = found.get(whole, 0) + runs
    return found


_known: dict[tuple[str, str, bytes], float] = {}


def _costed(blocks: Sequence[Block], arch: str, model: str) -> dict[Block, float]:
    """Cycles of one round of each block; of those that the tools cannot read, none."""
    wanted = [b for b in blocks if (arch, model, b.code) not in _known]
    texts = dict(zip(wanted, _assembly(wanted, arch), strict=True))
    groups: dict[int, list[Block]] = {}
    for block, text in texts.items():
        if text is not None:
            groups.setdefault(SIMULATED // len(text), []).append(block)
    for rounds, members in _coarse(groups).items():
        lines = [texts[b] or [] for b in members]
        for block, found in zip(members, _simulated(lines, rounds, arch, model), strict=True):
            _known[arch, model, block.code] = found
    return {b: known for b in blocks if (known := _known.get((arch, model, b.code))) is not None}


def _coarse(groups: Mapping[int, list[Block]]) -> dict[int, list[Block]]:
    """Few groups of similar numbers of rounds, each a call of the simulator."""
    found: dict[int, list[Block]] = {}
    for rounds, members in groups.items():
        found.setdefault(min(n for n in ROUNDS if n >= min(rounds, ROUNDS[-1])), []).extend(members)
    return found


def _simulated(blocks: Sequence[Sequence[str]], rounds: int, arch: str, model: str) -> list[float]:
    text = "\n".join(
        "\n".join([f"# LLVM-MCA-BEGIN b{i}", *lines, f"# LLVM-MCA-END b{i}"]) for i, lines in enumerate(blocks)
    )
    command = [tool(), f"-mtriple={_TRIPLES[arch]}", f"-mcpu={model}", "-json", f"-iterations={rounds}"]
    quiet = ["-resource-pressure=0", "-instruction-info=0", "-skip-unsupported-instructions=any"]
    done = subprocess.run([*command, *quiet], input=text + "\n", capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise MissingDependency(f"{command[0]} does not cost these blocks: {said}", hint=HINT)
    data = json.loads(done.stdout)
    summaries = {r["Name"]: r["SummaryView"] for r in data["CodeRegions"]}
    return [summaries[f"b{i}"]["TotalCycles"] / rounds for i in range(len(blocks))]


def _assembly(blocks: Sequence[Block], arch: str) -> list[list[str] | None]:
    """Assembly of each block, an instruction a line; None where some bytes are no instruction."""
    good = dict(enumerate(blocks))
    while True:
        text = "\n".join(" ".join(f"{byte:#04x}" for byte in b.code) for b in good.values())
        command = [tool(DISASSEMBLER), "--disassemble", f"-triple={_TRIPLES[arch]}", "-mattr=+all"]
        done = subprocess.run(command, input=text + "\n", capture_output=True, text=True)
        wrong = _lines_of_warnings(done.stderr.splitlines())
        if not wrong:
            break
        numbers = list(good)
        for line in wrong:
            good.pop(numbers[line - 1], None)
    lines = [" ".join(s.split()) for s in done.stdout.splitlines() if s.strip() and not s.strip().startswith(".")]
    found: list[list[str] | None] = [None] * len(blocks)
    at = 0
    for number, block in good.items():
        found[number] = lines[at : at + block.instructions]
        at += block.instructions
    if at != len(lines):
        raise ValueError(f"{len(lines)} instructions disassembled, not {at}")
    return found


def _lines_of_warnings(messages: Iterable[str]) -> set[int]:
    return {int(m.split(":")[1]) for m in messages if m.startswith("<stdin>:")}
