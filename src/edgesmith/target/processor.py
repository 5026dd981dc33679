"""The processor of a machine: what it is called and how large its caches are."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = [
    "CPUINFO",
    "FACTS",
    "Processor",
    "cache_bytes",
    "fastest_cpu",
    "features_of",
    "processor_of",
    "this_processor",
]

CPUINFO = Path("/proc/cpuinfo")
_FOLDER = Path("/sys/devices/system/cpu")
FACTS = tuple(
    f"{_FOLDER}/cpu[0-9]*/{file}"
    for file in (
        *("cache/index[0-9]*/type", "cache/index[0-9]*/level", "cache/index[0-9]*/size"),
        *("cpu_capacity", "cpufreq/cpuinfo_max_freq"),
    )
)
"""Files, as patterns, in which Linux describes processors, beside ``CPUINFO``."""
_SPEEDS = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")
"""How fast a processor is next to the others, the first that the system tells."""

Facts = Mapping[str, str]
"""Content of such files by path."""


@dataclass(frozen=True)
class Processor:
    """A model of processor.

    Args:
        vendor, family, model, stepping: as the system tells them; empty where it does not.
        l1_bytes, l2_bytes, l3_bytes: data caches; the third level may be shared by cores.
    """

    name: str
    vendor: str
    family: str
    model: str
    stepping: str
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int

    def __str__(self) -> str:
        numbers = [n for n in (self.family, self.model, self.stepping) if n]
        return f"{self.name} ({'/'.join(numbers)})" if numbers else self.name

    def resembles(self, other: Processor) -> bool:
        """Whether a kernel that is fastest on the other is likely fastest here: same family and same private caches."""
        mine = (self.vendor, self.family, self.l1_bytes, self.l2_bytes)
        return mine == (other.vendor, other.family, other.l1_bytes, other.l2_bytes)


@cache
def this_processor() -> Processor:
    """The processor that this program runs on."""
    try:
        text = CPUINFO.read_text()
    except OSError:
        text = ""
    return processor_of(text, _facts(), platform.processor() or platform.machine())


def processor_of(
    cpuinfo: str,
    facts: Facts,
    name: str,
    cpu: int = 0,
    *,
    default_bytes: tuple[int, int, int] = (32 * 1024, 512 * 1024, 0),
) -> Processor:
    """A processor as Linux describes it.

    Args:
        cpuinfo: content of ``CPUINFO``.
        facts: content of ``FACTS``.
        name: what it is called where the system has no name for it.
        cpu: number of the processor.
        default_bytes: caches of the first to third level where the system does not tell.
    """
    sections = re.split(r"\n\s*\n", cpuinfo)
    own = next((s for s in sections if _entries(s).get("processor") == str(cpu)), "")
    found: dict[str, str] = {}
    for section in (own, *sections):
        for key, value in _entries(section).items():
            found.setdefault(key, value)
    return Processor(
        found.get("model name") or found.get("Model") or name,
        found.get("vendor_id") or found.get("CPU implementer") or "",
        found.get("cpu family") or found.get("CPU part") or "",
        found.get("model", ""),
        found.get("stepping", ""),
        *(_cache_bytes(facts, cpu, level, default) for level, default in enumerate(default_bytes, 1)),
    )


def features_of(cpuinfo: str) -> frozenset[str]:
    """What processors list in ``CPUINFO``."""
    found: set[str] = set()
    for line in cpuinfo.splitlines():
        title, _, text = line.partition(":")
        if title.strip() in ("flags", "Features"):
            found.update(text.split())
        elif title.strip() == "isa":  # RISC-V: rv64imafdcv_zba_zbb
            letters, *names = text.strip().split("_")
            found.update(letters.removeprefix("rv64"), names)
    return frozenset(found)


def fastest_cpu(facts: Facts) -> int:
    """Number of the first of the fastest processors."""
    cpus = sorted({int(m[1]) for path in facts if (m := re.match(rf"{_FOLDER}/cpu(\d+)/", path))})
    for file in _SPEEDS:
        speeds = {
            cpu: int(text) for cpu in cpus if (text := facts.get(f"{_FOLDER}/cpu{cpu}/{file}", "").strip()).isdigit()
        }
        if speeds:
            return max(speeds, key=lambda cpu: (speeds[cpu], -cpu))
    return cpus[0] if cpus else 0


def cache_bytes(level: int, default: int) -> int:
    """Size of this machine's data cache of a level; ``default`` when the system does not tell."""
    return _cache_bytes(_facts(), 0, level, default)


def _cache_bytes(facts: Facts, cpu: int, level: int, default: int) -> int:
    for path, kind in sorted(facts.items()):
        folder, _, file = path.rpartition("/")
        if not path.startswith(f"{_FOLDER}/cpu{cpu}/cache/") or file != "type":
            continue
        found, size = facts.get(f"{folder}/level", "").strip(), facts.get(f"{folder}/size", "").strip().rstrip("K")
        if kind.strip() in ("Data", "Unified") and found == str(level) and size.isdigit():
            return int(size) * 1024
    return default


def _facts() -> dict[str, str]:
    """Of the first processor of this machine."""
    found = {}
    for pattern in FACTS:
        for path in Path("/").glob(pattern.lstrip("/").replace("cpu[0-9]*", "cpu0", 1)):
            try:
                found[str(path)] = path.read_text()
            except (OSError, UnicodeDecodeError):
                continue
    return found


def _entries(section: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in section.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found
