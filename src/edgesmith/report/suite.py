"""The results of a suite as Markdown: times, precision, settings, programs, algorithms, and every layer."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from edgesmith.bench.compare import Measured
from edgesmith.bench.peers import OURS
from edgesmith.bench.record import Record, Result
from edgesmith.report.pictures import draw
from edgesmith.report.shortfall import FAR, explain, share
from edgesmith.report.units import rate

__all__ = ["layers_page", "line", "page", "write_report"]


def write_report(record: Record) -> Iterator[Path]:
    """Write the tables and pictures beside the record's file, and say what was written."""
    for suffix, text in ((".md", page(record)), ("-layers.md", layers_page(record))):
        path = record.file.with_name(record.file.stem + suffix)
        _write(path, text)
        yield path
    yield from draw(record)


def line(result: Result) -> str:
    """One result on one line."""
    found = result.comparison
    times = ", ".join(f"{n} {_ms(m, result):.3f}" for n, m in found.measured.items())
    best = f"; {found.ratio(found.best):.2f} times as fast as {found.best}" if found.best else ""
    return f"{result.name}, {_threads(result.threads)}: {times} ms{best}"


def page(record: Record) -> str:
    """All but the layers."""
    return (
        "\n\n".join(
            [
                f"# Suite {record.settings.suite}",
                f"{record.settings.about}.",
                _conditions(record),
                *(_times(record, n) for n in _thread_counts(record)),
                _precision(record),
                _settings(record),
                _programs(record),
                _algorithms(record),
            ]
        )
        + "\n"
    )


def layers_page(record: Record) -> str:
    """Every layer of every program, with its share of the roofline."""
    parts = [
        f"# Layers of the suite {record.settings.suite}",
        "The limit is the least time that the measured rates of the machine allow for a layer's operations (of the "
        "direct sum, so that Winograd's share may exceed 100 %) and its bytes. Beside layers below "
        f"{FAR:.0%} of it stand the effects that shapes and schedule show, each with the factor by which it lengthens "
        "the limit at most. Times are the least of many runs, as the machine's rates are.",
        _rooflines(record),
    ]
    for result in record.results:
        machine = record.machines[result.threads]
        rows = [
            [
                layer["name"],
                layer["operators"],
                layer["kernel"],
                f"{layer['least_ns'] / 1e3:.1f}",
                f"{layer['limit_ns'] / 1e3:.1f}",
                f"{share(layer):.0%}",
                layer["bound"],
                explain(layer, result.program, machine),
            ]
            for layer in result.layers
        ]
        header = "layer|operators|kernel|>µs|>limit µs|>share|bound|what keeps it from the limit"
        parts += [f"## {result.name}, {_threads(result.threads)}", _markdown(header, rows)]
    return "\n\n".join(parts) + "\n"


def _conditions(record: Record) -> str:
    about = record.environment
    rows = [
        ["command", f"`{record.command}`"],
        ["machine", f"{about['processor']}, {about['cores']} cores, {about['system']}"],
        ["rounds", f"{record.settings.rounds}, interleaved in one run"],
        ["compiled with", f"tuning {record.settings.tune}"],
        ["versions", ", ".join(f"{k} {v}" for k, v in about["versions"].items())],
        *(
            [
                f"measured peak, {_threads(n)}",
                f"{rate(m.flops, 'FLOP/s')} in fp32; reads {rate(m.bandwidths[0][1], 'B/s')} from the first cache, "
                f"{rate(m.bandwidths[-1][1], 'B/s')} from memory",
            ]
            for n, m in sorted(record.machines.items())
        ),
    ]
    return _markdown("what|value", rows)


def _times(record: Record, threads: int) -> str:
    results = _of(record, threads)
    peers = _peers(results)
    unit = "ms per image" if record.settings.per_image else "ms"
    rows = []
    for r in results:
        found = r.comparison
        cells = [_cell(r, found.measured[n]) if n in found.measured else "absent" for n in (OURS.name, *peers)]
        cells = [
            f"{c} *" if n in found.measured and found.reduced(n) else c
            for n, c in zip((OURS.name, *peers), cells, strict=True)
        ]
        best = found.best
        rows.append([r.name, *cells, best or "", f"**{found.ratio(best):.2f}**" if best else ""])
    header = "|".join(["network", ">edgesmith", *(f">{p}" for p in peers), "best peer", ">best peer / edgesmith"])
    parts = [
        f"## {_threads(threads)}",
        f"Medians in {unit}, with the interquartile range over the median; the ratio is the median over the rounds.",
        _markdown(header, rows),
    ]
    ratios = {r.name: r.comparison.ratio(r.comparison.best) for r in results if r.comparison.best}
    if ratios:
        least = min(ratios, key=lambda n: ratios[n])
        parts.append(
            f"Geometric mean of the ratios: **{geometric_mean(ratios.values()):.2f}**; "
            f"smallest: **{ratios[least]:.2f}** ({least})."
        )
    if any(r.comparison.reduced(n) for r in results for n in r.comparison.measured):
        parts.append("\\* computes in reduced precision (see below), so it does not count as a peer.")
    absent: dict[tuple[str, str], list[str]] = defaultdict(list)
    for r in results:
        for name, why in r.comparison.absent.items():
            absent[name, why].append(r.name)
    parts += [f"Absent: {name} ({_some(where, len(results))}): {why}." for (name, why), where in absent.items()]
    busy: dict[str, list[str]] = defaultdict(list)
    for r in results:
        for name in r.comparison.disturbing:
            busy[name].append(r.name)
    parts += [f"Busy while others were timed: {name} ({_some(where, len(results))})." for name, where in busy.items()]
    return "\n\n".join(parts)


def _precision(record: Record) -> str:
    """Largest error of each runtime, and the limit above which single precision is excluded."""
    first = _of(record, _thread_counts(record)[0]) if record.results else []
    peers = _peers(first)
    rows = [
        [
            r.name,
            *(
                f"{r.comparison.measured[n].error:.1e}" if n in r.comparison.measured else ""
                for n in (OURS.name, *peers)
            ),
            f"{r.comparison.error_limit:.1e}" if isfinite(r.comparison.error_limit) else "",
        ]
        for r in first
    ]
    header = "|".join(["network", ">edgesmith", *(f">{p}" for p in peers), ">limit"])
    return "\n\n".join(
        [
            "## Precision",
            "Largest error of any output over the largest output, against the same network in double precision. "
            "Results above the limit were not computed in single precision: it is a quarter of the error that rounding "
            "the operands of all products to the 11 bits of fp16 and TF32 makes on this network. For quantised "
            "networks, where the last bit of a sum may move what follows by whole steps, it is that of zeros.",
            _markdown(header, rows),
        ]
    )


def _settings(record: Record) -> str:
    """What each runtime ran with; where networks differ, each form once."""
    forms: dict[str, list[str]] = defaultdict(list)
    for r in record.results:
        for name, measured in r.comparison.measured.items():
            told = ", ".join(f"{k} {v}" for k, v in measured.settings.items() if "thread" not in k.lower())
            if told and told not in forms[name]:
                forms[name].append(told)
    rows = [[name, told] for name, all_told in forms.items() for told in all_told]
    return "\n\n".join(["## Settings of the runtimes", _markdown("runtime|settings", rows)])


def _programs(record: Record) -> str:
    rows = []
    for name in dict.fromkeys(r.name for r in record.results):
        same = [r for r in record.results if r.name == name]
        p, ours = same[0].program, [r.comparison.ours for r in same]
        rows.append(
            [
                name,
                str(len(same[0].layers)),
                f"{p['macs'] / 1e6:.1f}",
                *(f"{p[k] / 1e3:.0f}" for k in ("code_bytes", "weights_bytes", "prepared_bytes", "arena_bytes")),
                f"{p['arena_bytes'] / max(p['arena_lower_bound_bytes'], 1):.2f}",
                f"{p['resident_bytes'] / 1e3:.0f}",
                "yes" if all(m.repeats for m in ours) else "**no**",
                "yes" if len({m.digest for m in ours}) == 1 else "**no**",
            ]
        )
    header = (
        "network|>steps|>MACs (M)|>code (kB)|>weights (kB)|>prepared (kB)|>arena (kB)|>arena / largest live set|"
        ">resident (kB)|same bits each run|same bits for 1 and more threads"
    )
    return "\n\n".join(
        [
            "## Our programs",
            "Resident is all that a prepared program works with: weights, prepared weights, arena, scratch.",
            _markdown(header, rows),
        ]
    )


def _algorithms(record: Record) -> str:
    """What each kernel won, in the programs for the first number of threads."""
    first = _of(record, _thread_counts(record)[0]) if record.results else []
    won: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for r in first:
        whole = sum(layer["least_ns"] for layer in r.layers)
        for layer in r.layers:
            won[layer["kernel"]].append((r.network, layer["least_ns"] / whole))
    rows = [
        [
            kernel,
            str(len(layers)),
            str(len({n for n, _ in layers})),
            f"{sum(s for _, s in layers) / len(first):.1%}",
            ", ".join(dict.fromkeys(n for n, _ in layers)),
        ]
        for kernel, layers in sorted(won.items(), key=lambda item: -sum(s for _, s in item[1]))
    ]
    return "\n\n".join(
        ["## What each algorithm won", _markdown("kernel|>layers|>networks|>share of the time|where", rows)]
    )


def _rooflines(record: Record) -> str:
    rows = []
    for r in record.results:
        timed = sum(layer["least_ns"] for layer in r.layers)
        limit = sum(layer["limit_ns"] for layer in r.layers)
        far = [layer for layer in r.layers if share(layer) < FAR]
        rows.append(
            [
                r.name,
                str(r.threads),
                f"{timed / 1e6:.3f}",
                f"{limit / 1e6:.3f}",
                f"{limit / timed:.0%}",
                f"{len(far)} of {len(r.layers)}",
                f"{sum(layer['least_ns'] for layer in far) / timed:.0%}",
            ]
        )
    header = f"network|>threads|>sum of layers (ms)|>limit (ms)|>share|>layers below {FAR:.0%}|>their share of the time"
    return _markdown(header, rows)


def _thread_counts(record: Record) -> list[int]:
    return sorted({r.threads for r in record.results})


def _of(record: Record, threads: int) -> list[Result]:
    return [r for r in record.results if r.threads == threads]


def _peers(results: Iterable[Result]) -> list[str]:
    return list(dict.fromkeys(p for r in results for p in (*r.comparison.peers, *r.comparison.absent)))


def _ms(measured: Measured, result: Result) -> float:
    return measured.times.median / 1e6 / result.batch


def _cell(result: Result, measured: Measured) -> str:
    return f"{_ms(measured, result):.3f} ±{measured.times.spread:.0%}"


def _some(names: Sequence[str], total: int) -> str:
    return "all networks" if len(names) == total and total > 1 else ", ".join(names)


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _markdown(header: str, rows: Sequence[Sequence[Any]]) -> str:
    """A table; columns whose name starts with ``>`` hold numbers."""
    names = header.split("|")
    cells = [[n.lstrip(">") for n in names], ["--:" if n.startswith(">") else "---" for n in names]]
    cells += [[str(c).replace("|", "\\|") for c in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _write(path: Path, text: str) -> None:
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
