"""Post-training quantisation: float graph and calibration data to a quantised graph and what it costs in accuracy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import onnx

from edgesmith.errors import BadInput
from edgesmith.export import narrow_constants, to_onnx
from edgesmith.ir import Graph
from edgesmith.oldest_opset import in_oldest_opset
from edgesmith.quantize.assign import parameters_for, weight_notices
from edgesmith.quantize.block_weights import block_weights
from edgesmith.quantize.calibration import Calibration, calibrate
from edgesmith.quantize.evaluate import Error, compare
from edgesmith.quantize.insert import quantized_products
from edgesmith.quantize.mixed_precision import Choice
from edgesmith.quantize.notices import Notice
from edgesmith.quantize.parameters import Parameters, Wide
from edgesmith.quantize.placement import Placement, place
from edgesmith.quantize.recover import Recoveries
from edgesmith.quantize.recovery import Draft
from edgesmith.quantize.rounded_weights import rounded_weights
from edgesmith.quantize.samples import Samples
from edgesmith.quantize.settings import Settings
from edgesmith.quantize.weight_edit import LEAST_ELEMENTS

__all__ = ["Quantized", "quantize"]

Progress = Callable[[str, int, int], None]
COMPARED = 64
"""Most runs on which the float and the quantised graph are compared."""
_CUT = 0.01
"""Share of a value's elements beyond its range from which on it counts as saturated."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantised graph and where it comes from.

    Args:
        graph: the quantised one, of the same inputs and outputs as the float graph.
        draft: what ``graph`` was made from.
        errors: of stored values and outputs against the float graph, on calibration data; empty when not compared.
        notices: named warnings.
        digest: of the calibration data and the settings.
        real: whether the calibration data were measured rather than made up.
        choice: the layers that the accuracy budget keeps in floats; None: there was no budget.
        rounded: the nodes whose weights alone have fewer bits.
    """

    draft: Draft
    graph: Graph
    settings: Settings
    calibration: Calibration
    placement: Placement
    errors: Mapping[str, Error]
    notices: tuple[Notice, ...]
    digest: str
    real: bool
    choice: Choice | None = None
    rounded: tuple[str, ...] = ()

    @property
    def source(self) -> Graph:
        """The float graph, equalised where that was asked for."""
        return self.draft.exact

    @property
    def parameters(self) -> Parameters:
        """Scales and zero points."""
        return self.draft.parameters

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The quantised graph as ONNX."""
        return in_oldest_opset(to_onnx(self.graph))

    def with_floats(self, floats: Collection[str]) -> Quantized:
        """The same, but for some nodes that stay in floats; the errors are not measured anew."""
        draft = self.draft.with_floats(floats)
        return replace(self, draft=draft, graph=draft.quantized(), errors={})

    @property
    def products(self) -> tuple[str, ...]:
        """The nodes that multiply integers."""
        return tuple(quantized_products(self.source, self.parameters))

    @property
    def floats(self) -> dict[str, str]:
        """Conv, Gemm and MatMul nodes in floats, and why."""
        chosen = dict.fromkeys(self.choice.floats if self.choice else (), "the accuracy budget keeps it")
        unscaled = {n: "its input has no scale" for n in self.placement.products if n not in self.products}
        wide = {
            n: f"its input {self.placement.products[n].input} is kept in floats"
            for n in unscaled
            if self.placement.products[n].input in self.parameters.wide
        }
        return {**self.placement.floats, **unscaled, **wide, **chosen}

    @property
    def wide(self) -> tuple[Wide, ...]:
        """Values that are not stored in 8 bits because of the noise that would make, the noisiest first."""
        return tuple(sorted(set(self.parameters.wide.values()), key=lambda w: -w.noise))

    @property
    def outputs(self) -> dict[str, Error]:
        """The errors of the outputs."""
        return {v: self.errors[v] for v in self.source.outputs if v in self.errors}

    def report(self) -> dict[str, Any]:
        """All figures, as data."""
        return {
            "settings": self.settings.to_json(),
            "digest": self.digest,
            "runs": self.calibration.runs,
            "synthetic": not self.real,
            "integer_nodes": list(self.products),
            "rounded_nodes": list(self.rounded),
            "float_nodes": self.floats,
            "wide_values": [asdict(w) | {"dtype": str(self.settings.wide)} for w in self.wide],
            "accuracy_budget": None if self.choice is None else asdict(self.choice),
            "weights_bytes": {"float": _constants_bytes(self.source), "quantized": _constants_bytes(self.graph)},
            "outputs": [_figures(v, e) | {"agreement": e.agreement} for v, e in self.outputs.items()],
            "values": [self._value(v) for v in self.parameters.values if v in self.errors],
            "notices": [asdict(n) for n in self.notices],
        }

    def _value(self, value: str) -> dict[str, Any]:
        q, error = self.parameters.values[value], self.errors[value]
        producer = self.source.producer(value)
        return {
            **_figures(value, error),
            "node": producer.name if producer else None,
            "operator": producer.op.name if producer else None,
            "dtype": str(q.dtype),
            "scale": float(q.scale),
            "zero": int(q.zero),
            "cut_share": error.cut_share,
        }


def _figures(name: str, error: Error) -> dict[str, Any]:
    return {"name": name, "sqnr_db": error.sqnr_db}


def _constants_bytes(graph: Graph) -> int:
    """Of the constants that nodes read, as the ONNX model has them."""
    read, narrow = {v for n in graph.nodes for v in n.read}, narrow_constants(graph)
    return sum(-(-a.nbytes // 2) if v in narrow else a.nbytes for v, a in graph.constants.items() if v in read)


def quantize(
    graph: Graph,
    samples: Samples | None,
    settings: Settings | None = None,
    *,
    state: Path | None = None,
    compared: int = COMPARED,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise an optimised float graph.

    Args:
        samples: calibration data; None where the precision needs none.
        state: file that keeps an interrupted calibration; see ``calibrate``. Slow methods of recovery keep theirs
            beside it.
        compared: most runs on which the result is compared with the float graph, evenly spaced where the number of
            samples is known; 0: none.
        progress: told (stage, pieces done, pieces in all).

    Raises:
        BadInput: the data or the settings are wrong, or nothing can be quantised.
    """
    settings = settings or Settings()
    report = progress or _silent
    _check_float(graph)
    if not settings.kind.is_integer:
        return _rounded(graph, samples, settings, compared, report)
    if samples is None:
        raise BadInput(f"{settings.precision} needs calibration data", where="calibration")
    recoveries = Recoveries(settings, samples, state, report)
    placement = place(graph, settings)
    _require(placement.products, placement.floats, settings)
    exact = recoveries.prepared(graph)
    placement = place(exact, settings)
    found = calibrate(
        exact, placement.values, samples, settings, state=state, progress=lambda i, n: report("calibrate", i, n or i)
    )
    parameters = parameters_for(exact, placement, found.ranges, settings)
    if not parameters.weights:
        raise BadInput(
            "no value varies on the calibration data: " + "; ".join(str(n) for n in found.notices[:3]),
            where=samples.label,
            hint="give typical inputs",
        )
    plain = Draft(exact, exact, parameters, settings)
    draft, choice = recoveries.within_budget(plain, recoveries.improved(plain))
    result = draft.quantized()
    errors = _errors(draft, result, samples, found.runs, compared, report)
    notices = (*found.notices, *weight_notices(placement, settings), *_saturated(errors), *_unmet(choice))
    digest = settings.digest(samples.digest)
    return Quantized(draft, result, settings, found, placement, errors, notices, digest, samples.real, choice)


def _rounded(graph: Graph, samples: Samples | None, settings: Settings, compared: int, report: Progress) -> Quantized:
    """The graph with weights of fewer bits, activations as they are; compared with the exact one on samples, if any."""
    for given, what in (
        (settings.max_accuracy_drop is not None, "accuracy budget"),
        (settings.recovery not in ((), Settings.recovery), "accuracy recovery"),
        (settings.power_of_two, "scales"),
    ):
        if given:
            why = f"{settings.precision} has no {what}: weights are rounded, activations are not"
            raise BadInput(why, where="quantisation", hint="that is for integers, such as int8")
    found = (block_weights if settings.kind.is_blockwise else rounded_weights)(graph, settings)
    _require(found.products, found.floats, settings)
    draft = Draft(graph, graph, Parameters(), settings)
    runs = 0 if samples is None else samples.count or sum(1 for _ in samples)
    errors = _errors(draft, found.graph, samples, runs, compared, report) if samples is not None else {}
    placement = Placement({}, (), found.floats)
    digest, real = (settings.digest(), True) if samples is None else (settings.digest(samples.digest), samples.real)
    calibration = Calibration({}, (), runs)
    return Quantized(
        draft,
        found.graph,
        settings,
        calibration,
        placement,
        errors,
        found.notices,
        digest,
        real,
        rounded=found.products,
    )


def _errors(
    draft: Draft, result: Graph, samples: Samples, runs: int, compared: int, report: Progress
) -> dict[str, Error]:
    """The errors of ``result`` on at most ``compared`` of the ``runs`` samples, evenly spaced."""
    most = min(compared, runs)
    if not most:
        return {}
    chosen = islice(islice(samples, 0, None, max(runs // most, 1)), most)
    values = draft.parameters.values
    return compare(draft.exact, result, chosen, values, progress=lambda i: report("compare", i, most))


def _silent(stage: str, done: int, total: int) -> None:
    """The progress callback of a caller who gave none."""


def _check_float(graph: Graph) -> None:
    conversions = [n.name for n in graph.nodes if n.op.name.startswith(("QuantizeLinear", "DequantizeLinear"))]
    if conversions or any(n.op.name in ("ConvInteger", "MatMulInteger") for n in graph.nodes):
        where = (conversions or [graph.name])[0]
        raise BadInput("the model is quantised already", where=where, hint="compile it as it is")


def _require(products: Collection[str], floats: Mapping[str, str], settings: Settings) -> None:
    if not products:
        reasons = "; ".join(f"{name}: {why}" for name, why in islice(floats.items(), 3))
        raise BadInput(
            "nothing in the model can be quantised" + (f": {reasons}" if reasons else ""),
            hint="Conv, Gemm and MatMul with constant f32 weights can"
            + ("" if settings.kind.is_integer else f", {LEAST_ELEMENTS} numbers at least"),
        )


def _unmet(choice: Choice | None) -> Iterator[Notice]:
    if choice is not None and not choice.met:
        yield Notice("over-budget", "", f"{choice.loss:.2f} {choice.what}, which is more than allowed")


def _saturated(errors: Mapping[str, Error]) -> Iterator[Notice]:
    for value, error in errors.items():
        if error.cut_share > _CUT:
            why = f"{error.cut_share:.1%} of its elements lie beyond the range of its integers"
            yield Notice("saturated-value", value, why, "min-max keeps all of them")
