"""Pictures of a suite's results: bars per network, the roofline, layers against their limit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgesmith.bench.peers import OURS
from edgesmith.bench.record import Record, Result
from edgesmith.report.shortfall import FAR, share
from edgesmith.target import Machine

__all__ = ["draw"]

OWN_COLOUR = "#d1495b"
PEER_COLOURS = ("#30638e", "#6ea4bf", "#00798c", "#8d96a3", "#b8a47e", "#5f4b66", "#a3b18a", "#444444")
KERNEL_COLOURS = ("#30638e", "#d1495b", "#edae49", "#00798c", "#7b2d8b", "#7a9e7e", "#8d6b4f", "#444444", "#e07a5f")
INCHES_A_NETWORK = 0.9


def draw(record: Record) -> Iterator[Path]:
    """Write one SVG a picture beside the record's file; nothing where matplotlib (extra ``report``) is missing."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("svg")
    # Equal data give equal bytes: no date, no random identifiers; text stays text.
    matplotlib.rcParams.update({"svg.hashsalt": "edgesmith", "svg.fonttype": "none", "font.size": 9})
    for threads in sorted({r.threads for r in record.results}):
        results = [r for r in record.results if r.threads == threads]
        machine = record.machines[threads]
        title = f"{record.settings.suite}, {threads} thread{'s' * (threads > 1)}"
        kinds = [
            ("bars", _bars(results, record.settings.per_image, title)),
            ("roofline", _roofline(results, machine, title)),
        ]
        kinds.append(("layers", _layers(results, title)))
        for kind, figure in kinds:
            path = record.file.with_name(f"{record.file.stem}-{kind}-{threads}.svg")
            figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
            yield path


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _bars(results: list[Result], per_image: bool, title: str) -> Any:
    """Time of each peer over ours; ours is the line at 1."""
    peers = list(dict.fromkeys(p for r in results for p in r.comparison.peers))
    figure, axes = _figure(max(INCHES_A_NETWORK * len(results), 6.0) + 1.5, 4.2)
    width = 0.84 / max(len(peers), 1)
    for i, peer in enumerate(peers):
        for j, result in enumerate(results):
            found = result.comparison
            if peer not in found.measured:
                continue
            x = j + (i - (len(peers) - 1) / 2) * width
            axes.bar(
                x,
                found.ratio(peer),
                width * 0.92,
                color=PEER_COLOURS[i % len(PEER_COLOURS)],
                hatch="///" if found.reduced(peer) else None,
                alpha=0.4 if found.reduced(peer) else 1.0,
                label=peer if j == 0 else None,
            )
    axes.axhline(1, color=OWN_COLOUR, linewidth=2, label=OURS.name)
    unit = "ms/image" if per_image else "ms"
    labels = [f"{r.name}\n{r.comparison.ours.times.median / 1e6 / r.batch:.3g} {unit}" for r in results]
    axes.set_xticks(range(len(results)), labels, rotation=35, ha="right")
    axes.set_ylabel("time of the peer / time of Edgesmith")
    axes.set_title(f"{title}: above the line, Edgesmith is faster")
    axes.set_xlim(-0.6, len(results) - 0.4)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles, names, ncol=len(names), frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.32))
    return figure


def _roofline(results: list[Result], machine: Machine, title: str) -> Any:
    """A dot a layer: operations per second over operations per byte, its area by its share of the network's time."""
    figure, axes = _figure(8.5, 5.2)
    colours = _kernel_colours(results)
    low, high = 0.1, 1000.0
    for result in results:
        whole = sum(layer["least_ns"] for layer in result.layers)
        for layer in result.layers:
            operations = 2 * layer["macs"] + layer["flops"]
            if operations:
                axes.scatter(
                    min(max(operations / layer["bytes"], low), high),
                    operations / layer["least_ns"],
                    s=4 + 500 * layer["least_ns"] / whole,
                    color=colours.get(layer["kernel"], "#bbbbbb"),
                    alpha=0.6,
                    linewidths=0,
                )
    span = [low * (high / low) ** (i / 100) for i in range(101)]
    for i, (size, bandwidth) in enumerate(_levels(machine)):
        axes.plot(
            span,
            [min(machine.flops, x * bandwidth) / 1e9 for x in span],
            color="black",
            linewidth=0.8,
            alpha=1 - 0.2 * i,
        )
        x = low * 1.15
        axes.text(
            x,
            x * bandwidth / 1e9 * 1.12,
            f"{_size(size)}: {bandwidth / 1e9:.0f} GB/s",
            fontsize=7,
            rotation=32,
            rotation_mode="anchor",
        )
    axes.text(high, machine.flops / 1e9 * 1.06, f"{machine.flops / 1e9:.0f} GFLOP/s", ha="right", fontsize=7)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(machine.flops / 1e9 / 1000, machine.flops / 1e9 * 8)
    axes.set_xlabel("operations of the direct sum per byte moved")
    axes.set_ylabel("GFLOP/s of the direct sum")
    axes.set_title(f"Roofline, {title}: a dot a layer, its area by its share of the network's time")
    axes.grid(alpha=0.2)
    for kernel, colour in colours.items():
        axes.scatter([], [], s=30, color=colour, label=kernel)
    axes.scatter([], [], s=30, color="#bbbbbb", label="others")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _layers(results: list[Result], title: str) -> Any:
    """Per network the time of each layer as a slice of a bar, above it how far it is from its limit."""
    figure, axes = _figure(11, 0.42 * len(results) + 1.4)
    import matplotlib

    colours = matplotlib.colormaps["RdYlGn"]
    for j, result in enumerate(results):
        whole = sum(layer["least_ns"] for layer in result.layers)
        left = 0.0
        for layer in result.layers:
            part = layer["least_ns"] / whole
            axes.barh(
                j, part, left=left, height=0.62, color=colours(min(share(layer), 1.0)), edgecolor="white", linewidth=0.3
            )
            left += part
        axes.text(1.01, j, f"{sum(layer['limit_ns'] for layer in result.layers) / whole:.0%}", va="center", fontsize=8)
    axes.set_yticks(range(len(results)), [r.name for r in results])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(
        "share of the network's time; at the right the share of the roofline that the sum of the layers reaches"
    )
    scale = figure.colorbar(
        matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), colours), ax=axes, pad=0.08, fraction=0.03
    )
    scale.set_label("share of the roofline")
    scale.ax.axhline(FAR, color="black", linewidth=1)
    axes.set_title(f"Layers against the roofline, {title}")
    return figure


def _kernel_colours(results: list[Result]) -> dict[str, str]:
    """Colours for the kernels that take most time."""
    taken: dict[str, float] = {}
    for result in results:
        for layer in result.layers:
            taken[layer["kernel"]] = taken.get(layer["kernel"], 0.0) + layer["least_ns"]
    ranked = sorted(taken, key=lambda k: -taken[k])[: len(KERNEL_COLOURS)]
    return dict(zip(ranked, KERNEL_COLOURS, strict=False))


def _levels(machine: Machine) -> list[tuple[int, float]]:
    """Working sets from which reads are clearly slower than from the smaller ones, and the largest one."""
    levels = [machine.bandwidths[0]]
    for size, bandwidth in machine.bandwidths[1:]:
        if bandwidth < levels[-1][1] * 0.6:
            levels.append((size, bandwidth))
    return [*levels[:-1], machine.bandwidths[-1]] if len(levels) > 1 else levels


def _size(nbytes: int) -> str:
    return (
        f"{nbytes >> 20} MiB"
        if nbytes >= 1 << 20
        else f"{nbytes >> 10} KiB"
        if math.log2(nbytes) >= 10
        else str(nbytes)
    )
