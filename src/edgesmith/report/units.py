"""Numbers with units, as people read them."""

from __future__ import annotations

__all__ = ["count", "duration", "in_ms", "nbytes", "rate", "shape"]

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_TIME_NS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def count(value: float) -> str:
    """1234567 -> ``1.23 M``."""
    for factor, prefix in _SI:
        if abs(value) >= factor:
            return f"{_digits(value / factor)} {prefix}"
    return f"{value:g}"


def nbytes(value: int | float) -> str:
    """Bytes in binary multiples."""
    for factor, unit in _BINARY:
        if abs(value) >= factor:
            return f"{_digits(value / factor)} {unit}"
    return f"{value:.0f} B"


def duration(ns: float) -> str:
    """A time given in nanoseconds."""
    for factor, unit in _TIME_NS:
        if abs(ns) >= factor:
            return f"{_digits(ns / factor)} {unit}"
    return f"{ns:.0f} ns"


def in_ms(value: float) -> str:
    """Always in ms, as budgets are, with three digits at least."""
    return f"{value:.3f} ms" if value >= 0.1 else f"{value:#.3g} ms"


def rate(per_second: float, unit: str) -> str:
    """A rate, such as ``rate(2e11, "FLOP/s")`` -> ``200 GFLOP/s``."""
    for factor, prefix in _SI:
        if per_second >= factor:
            return f"{_digits(per_second / factor)} {prefix}{unit}"
    return f"{_digits(per_second)} {unit}"


def shape(extents: tuple[int, ...] | list[int]) -> str:
    """``1x3x224x224``; a scalar is ``scalar``."""
    return "x".join(map(str, extents)) or "scalar"
