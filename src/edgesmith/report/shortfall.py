"""Why a layer stays behind the roofline: the effects that its shapes and schedule show, each with its size.

Every rule gives the factor by which an effect lengthens, at most, the least time that the roofline allows. The factors
come from shapes, schedule and measured rates of the machine alone, never from the layer's time; what they do not
explain is said to be unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgesmith.target import Machine

__all__ = ["FAR", "Effect", "Layer", "effects", "explain", "share"]

FAR = 0.6
"""A layer below this share of the roofline needs a reason."""

NOTABLE = 1.04
WORTH_SAYING = 3
START_NS = 200.0
JOIN_NS = 1500.0
"""Cost of starting any step; of handing it to other threads and waiting for them."""
FMA_LATENCY = 4
FMA_PIPES = 2
LOAD_PORTS = 2
"""Of current desktop and server cores: cycles of one fused multiply-add, how many begin per cycle, loads per cycle."""

Layer = Mapping[str, Any]
"""One entry of ``Result.layers``."""


@dataclass(frozen=True)
class Effect:
    """Something that costs time.

    Args:
        text: what it is.
        factor: by which it lengthens the least time.
    """

    text: str
    factor: float


def share(layer: Layer) -> float:
    """Least time over measured time; above 1 where an algorithm needs fewer operations than the direct sum."""
    return float(layer["limit_ns"] / layer["least_ns"])


def effects(layer: Layer, program: Mapping[str, Any], machine: Machine) -> list[Effect]:
    """What lengthens the least time, largest first."""
    found = [e for rule in _RULES for e in rule(layer, program, machine)]
    return sorted((e for e in found if e.factor >= NOTABLE), key=lambda e: -e.factor)


def explain(layer: Layer, program: Mapping[str, Any], machine: Machine) -> str:
    """One sentence for a layer that is far from the roofline; empty for the others."""
    if share(layer) >= FAR:
        return ""
    known = effects(layer, program, machine)[:WORTH_SAYING]
    left = layer["least_ns"] / layer["limit_ns"] / math.prod(e.factor for e in known)
    parts = [f"{e.text} (x{e.factor:.2f})" for e in known]
    if left > 1 / FAR or not parts:
        untuned = "" if layer["measured"] else "; its schedule was chosen by prediction, not by measured time"
        parts.append(f"not explained by shape or schedule (x{left:.2f}){untuned}")
    return "; ".join(parts)


def _depthwise(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """Each multiply-add of a depthwise convolution loads an operand that no other output channel shares."""
    macs = sum(_macs(p) for p in layer["products"] if _is_depthwise(p))
    if macs:
        load_ns = (4 * macs + 4 * _written(layer)) / machine.bandwidths[0][1] * 1e9
        rest_ns = machine.compute_ns(layer["macs"] - macs, layer["flops"])
        yield Effect("depthwise: a load for every multiply-add", (load_ns + rest_ns) / layer["limit_ns"])


def _traffic(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """Weights come from the cache that holds the whole network; traffic and arithmetic hide one another only partly."""
    resident = program["resident_bytes"] / machine.threads
    own = min(layer["bytes"] / machine.threads, resident)
    weights = min(layer["weight_bytes"], layer["bytes"])
    memory_ns = machine.memory_ns(weights, resident) + machine.memory_ns(layer["bytes"] - weights, own)
    compute_ns = machine.compute_ns(layer["macs"], layer["flops"])
    if weights and memory_ns > layer["limit_ns"]:
        rate = machine.bandwidth(resident) / 1e9
        text = f"{weights / 1e3:.0f} kB of weights come from where the whole network lies, at {rate:.0f} GB/s"
        yield Effect(text, memory_ns / layer["limit_ns"])
    if layer["products"]:
        intensity = 2 * layer["macs"] / max(layer["bytes"], 1)
        longer, shorter = max(memory_ns, compute_ns), min(memory_ns, compute_ns)
        yield Effect(
            f"{intensity:.2g} operations a byte: what arithmetic and traffic do not hide of each other",
            (longer + shorter) / longer,
        )


def _writes(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """A cache line is read before it is written; the bandwidth was measured by reading."""
    written = 4 * _written(layer)
    if layer["bound"] == "memory" and layer["bytes"] > machine.bandwidths[0][0]:
        yield Effect(f"{written / 1e3:.0f} kB of results, whose lines are read first", 1 + written / layer["bytes"])


def _lanes(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """Vectors run along the filters; the last one may be part empty."""
    product, lanes = _main(layer), program["lanes"]
    if product and layer["bound"] == "compute":
        filters = product["filters"] if _is_depthwise(product) else product["filters"] // product["groups"]
        used = math.ceil(filters / lanes) * lanes
        yield Effect(f"{filters} filters on vectors of {lanes}: empty lanes", used / filters)


def _register_tile(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """Too few sums in registers: multiply-adds wait for one another, or for their loads."""
    product, tile = _main(layer), _tile(layer)
    if not product or not tile or layer["bound"] != "compute":
        return
    rows, vectors = tile
    sums = rows * vectors
    yield Effect(
        f"register tile {rows}x{vectors}: {sums} sums cannot hide the latency of a multiply-add",
        FMA_LATENCY * FMA_PIPES / sums,
    )
    loads = (rows + vectors) / LOAD_PORTS
    yield Effect(f"register tile {rows}x{vectors}: loads outnumber multiply-adds", loads / (sums / FMA_PIPES))


def _tails(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """Rows and vectors that do not fill the last register tile."""
    product, tile = _main(layer), _tile(layer)
    if not product or not tile or layer["bound"] != "compute":
        return
    rows, vectors = tile
    along = product["width"] if math.prod(product["kernel"]) > 1 else product["positions"]
    yield _tail(f"{along} pixels in register tiles of {rows}", along, rows)
    panels = math.ceil(product["filters"] / product["groups"] / program["lanes"])
    yield _tail(f"{panels} vectors of filters in register tiles of {vectors}", panels, vectors)


def _tail(text: str, extent: int, tile: int) -> Effect:
    """A smaller tile finishes the rest: as slow as a full one at worst, which is what is counted."""
    return Effect(f"{text}: edge tiles", math.ceil(extent / tile) * tile / extent)


def _short_sums(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """Sums of few products: setting them up, the epilogue and storing them cost as much as several products."""
    product = _main(layer)
    if product and layer["bound"] == "compute":
        steps = 1 + _operators_after(layer)
        yield Effect(
            f"sums of {product['depth']} products only, each with {steps + 1} more operations to begin and to finish",
            (product["depth"] + FMA_PIPES * (steps + 1)) / product["depth"],
        )


def _balance(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """Tasks that do not divide evenly among the threads."""
    tasks, threads = layer["tasks"], machine.threads
    if threads > 1 and tasks:
        yield Effect(f"{tasks} tasks on {threads} threads", math.ceil(tasks / threads) * threads / tasks)


def _functions(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """Functions take more operations than the cost counts for them."""
    elements = _written(layer)
    for operator in dict.fromkeys(layer["operators"].split("+")):
        if operator in _FUNCTIONS:
            taken_ns = machine.compute_ns(0, elements * _FUNCTIONS[operator])
            text = f"{operator} takes about {_FUNCTIONS[operator]} operations an element"
            yield Effect(text, (machine.compute_ns(layer["macs"]) + taken_ns) / layer["limit_ns"])


def _start(layer: Layer, program: Mapping[str, Any], machine: Machine) -> Iterator[Effect]:
    """What every step takes: a call, the first cache misses, and with threads waking and waiting for them."""
    start_ns = START_NS + (JOIN_NS if machine.threads > 1 else 0)
    yield Effect(f"short: about {start_ns / 1e3:.1f} µs go into starting the step", 1 + start_ns / layer["limit_ns"])


_FUNCTIONS = {
    "HardSigmoid": 3,
    "HardSwish": 4,
    "Sigmoid": 15,
    "Swish": 17,
    "Tanh": 35,
    "Softmax": 19,
    "Exp": 19,
    "Mish": 34,
    "Softplus": 40,
    "Erf": 51,
    "Gelu": 62,
    "LRN": 30,
}
_RULES: tuple[Callable[[Layer, Mapping[str, Any], Machine], Iterator[Effect]], ...] = (
    _depthwise,
    _traffic,
    _writes,
    _lanes,
    _register_tile,
    _tails,
    _short_sums,
    _balance,
    _functions,
    _start,
)


def _macs(product: Mapping[str, Any]) -> int:
    return int(product["depth"] * product["filters"] * product["positions"])


def _is_depthwise(product: Mapping[str, Any]) -> bool:
    return bool(product["groups"] > 1 and product["depth"] == math.prod(product["kernel"]))


def _main(layer: Layer) -> Mapping[str, Any] | None:
    """The product that takes most multiply-adds."""
    return max(layer["products"], key=_macs, default=None)


def _tile(layer: Layer) -> tuple[int, int] | None:
    """Rows and vectors of the register tile, for kernels whose schedule is one; blocks of rows have columns as well."""
    schedule = layer["schedule"]
    if "columns" in schedule or not schedule.get("rows") or not schedule.get("vectors"):
        return None
    return schedule["rows"], schedule["vectors"]


def _written(layer: Layer) -> int:
    """Elements of the results."""
    return sum(math.prod(shape) for shape in layer["shape"])


def _operators_after(layer: Layer) -> int:
    return max(len(layer["operators"].split("+")) - len(layer["products"]), 0)
