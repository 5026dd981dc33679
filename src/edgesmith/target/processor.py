"""The processor of this machine: what it is called and how large its caches are."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Processor", "cache_bytes", "this_processor"]

_CPU = Path("/sys/devices/system/cpu/cpu0")


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
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return Processor(
        name=found.get("model name") or found.get("Model") or platform.processor() or platform.machine(),
        vendor=found.get("vendor_id") or found.get("CPU implementer") or "",
        family=found.get("cpu family") or found.get("CPU part") or "",
        model=found.get("model", ""),
        stepping=found.get("stepping", ""),
        l1_bytes=cache_bytes(1, 32 * 1024),
        l2_bytes=cache_bytes(2, 512 * 1024),
        l3_bytes=cache_bytes(3, 0),
    )


def cache_bytes(level: int, default: int) -> int:
    """Size of this machine's data cache of a level; ``default`` when the system does not tell."""
    for index in sorted(_CPU.glob("cache/index*")):
        try:
            kind, found = (index / "type").read_text().strip(), int((index / "level").read_text())
            if found == level and kind in ("Data", "Unified"):
                return int((index / "size").read_text().strip().rstrip("K")) * 1024
        except (OSError, ValueError):
            continue
    return default
