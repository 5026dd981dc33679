"""Calibration: interruptions, memory, degenerate values; errors of quantised graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.relu import Relu
from edgesmith.ops.window import Window
from edgesmith.quantize import Settings, open_samples, quantize
from edgesmith.quantize.calibration import Calibration, calibrate
from edgesmith.quantize.observers import OBSERVERS
from edgesmith.quantize.placement import place
from edgesmith.quantize.run import Runner, run_float
from passes.graphs import Sketch

POINTWISE = Conv(Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)))
RNG = np.random.default_rng(2)
DATA = [RNG.standard_normal((1, 4, 6, 6)).astype(np.float32) for _ in range(9)]


def chain(bias: float = 0.1) -> Graph:
    s = Sketch()
    x = s.input(1, 4, 6, 6)
    for _ in range(3):
        x = s.add(Relu(), s.add(POINTWISE, x, s.random(4, 4, 1, 1), s.constant(np.full(4, bias, np.float32))))
    return s.graph(s.add(POINTWISE, x, s.random(2, 4, 1, 1)))


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def calibrated(
    graph: Graph, settings: Settings, state: Path | None = None, stop: int = 99, **options: int
) -> Calibration:
    def told(done: int, total: int) -> None:
        seen.append(done)
        if done == stop:
            raise Interrupted

    seen: list[int] = []
    samples = open_samples(lambda: iter(DATA), {v: graph.type(v) for v in graph.inputs})
    values = place(graph, settings).values
    result = calibrate(graph, values, samples, settings, state=state, every=2, progress=told, **options)
    calibrated.seen = seen  # type: ignore[attr-defined]
    return result


@pytest.mark.parametrize("observer", sorted(OBSERVERS))
def test_an_interrupted_calibration_goes_on(observer: str, tmp_path: Path) -> None:
    graph, settings, state = chain(), Settings(observer=observer), tmp_path / "state"
    whole = calibrated(graph, settings)
    with pytest.raises(Interrupted):
        calibrated(graph, settings, state, stop=5)
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    assert calibrated(graph, settings, state) == whole
    assert calibrated.seen == [5, 6, 7, 8, 9]  # type: ignore[attr-defined]
    assert not list(tmp_path.iterdir())


def test_the_state_of_something_else_is_not_taken_up(tmp_path: Path) -> None:
    graph, state = chain(), tmp_path / "state"
    with pytest.raises(Interrupted):
        calibrated(graph, Settings(), state, stop=5)
    kept = state.read_bytes()
    for other, settings in ((chain(0.3), Settings()), (graph, Settings(observer="min-max"))):
        state.write_bytes(kept)
        assert calibrated(other, settings, state) == calibrated(other, settings)
    state.write_bytes(kept[:100])
    assert calibrated(graph, Settings(), state) == calibrated(graph, Settings())


def test_pieces_give_the_same_ranges() -> None:
    graph = chain()
    whole = calibrated(graph, Settings())
    assert calibrated(graph, Settings(), budget_bytes=600) == whole
    values = place(graph, Settings()).values
    assert len(Runner(graph, values, budget_bytes=600).pieces) == 3


def test_run_float_gives_the_values_of_the_reference() -> None:
    graph = chain()
    values = [v for n in graph.nodes for v in n.outputs] + ["x0"]
    for x, found in zip(DATA, run_float(graph, [{"x0": x} for x in DATA], values), strict=False):
        expected = graph.reference({"x0": x})
        assert found.keys() == set(values)
        for value, array in found.items():
            np.testing.assert_allclose(array, expected[value], atol=1e-5)


def notices(graph: Graph, data: list[np.ndarray], **settings: object) -> dict[str, str]:
    samples = open_samples(data, {v: graph.type(v) for v in graph.inputs})
    found = quantize(graph, samples, Settings(**settings))  # type: ignore[arg-type]
    feeds = {graph.inputs[0]: data[0]}
    for value in graph.outputs:
        difference = found.graph.reference(feeds)[value] - graph.reference(feeds)[value]
        assert np.abs(difference).max() < 0.1 * max(1.0, float(np.abs(graph.reference(feeds)[value]).max()))
    return {n.name: n.where for n in found.notices}


def test_dead_values_stay_in_floats_with_a_warning() -> None:
    s = Sketch()
    x = s.input(1, 4, 6, 6)
    dead = s.add(Relu(), s.add(POINTWISE, x, s.random(4, 4, 1, 1), s.constant(np.full(4, -1e3, np.float32))))
    y = s.add(POINTWISE, dead, s.random(2, 4, 1, 1))
    alive = s.add(POINTWISE, x, s.random(2, 4, 1, 1))
    assert notices(s.graph(y, alive), DATA) == {"constant-value": dead}


def test_constant_inputs_are_told() -> None:
    data = [np.full((1, 4, 6, 6), 3.0, np.float32)] * 9
    assert notices(chain(), data) == {"constant-value": "x0"}
    s = Sketch()
    graph = s.graph(s.add(POINTWISE, s.input(1, 4, 6, 6), s.random(2, 4, 1, 1)))
    with pytest.raises(BadInput, match=r"no value varies.*x0: it is the constant 3"):
        notices(graph, data)


def test_few_samples_are_told() -> None:
    assert notices(chain(), DATA[:2]) == {"few-samples": ""}
    assert notices(chain(), DATA) == {}


def test_overflowing_values_stay_in_floats() -> None:
    s = Sketch()
    x = s.input(1, 4)
    huge = s.add(Gemm(), x, s.constant(np.full((4, 4), 3e38, np.float32)))
    lost = s.add(Gemm(), huge, s.constant(np.zeros((4, 2), np.float32)))
    kept = s.add(Gemm(), x, s.random(4, 3))
    samples = open_samples([np.ones((1, 4), np.float32) * i for i in range(1, 10)], {x: s.types[x]})
    found = quantize(s.graph(lost, kept), samples, Settings(), compared=0)
    names = {n.name: n.where for n in found.notices}
    assert names == {"not-finite": huge, "zero-weights": found.source.producers[lost].name}
    assert found.source.producers[lost].name in found.floats


def test_saturated_values_are_told() -> None:
    """A moving average follows the last samples, which are small here."""
    data = [*(x * 10 for x in DATA), *DATA * 4]
    found = quantize(
        chain(),
        open_samples(data, {"x0": chain().type("x0")}),
        Settings(observer="moving-average", momentum=0.5),
    )
    assert ("saturated-value", "x0") in {(n.name, n.where) for n in found.notices}
    assert found.errors["x0"].cut_share > 0.01


def test_uneven_channels_are_told_where_they_share_a_scale() -> None:
    s = Sketch()
    x = s.input(1, 4)
    weights = RNG.standard_normal((4, 6)).astype(np.float32) * np.float32([1, 1, 1, 1, 1, 500])
    graph = s.graph(s.add(Gemm(), x, s.constant(weights)))
    data = [RNG.standard_normal((1, 4)).astype(np.float32) for _ in range(9)]
    assert "outlier-channels" in notices(graph, data, per_channel=False)
    assert notices(graph, data) == {}


def test_synthetic_data_are_said_to_be() -> None:
    graph = chain()
    found = quantize(graph, open_samples("none", {"x0": graph.type("x0")}))
    assert [n.name for n in found.notices] == ["data-free"]
    assert not found.real
