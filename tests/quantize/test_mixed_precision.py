"""Which layers stay in floats under an accuracy budget."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.ops.relu import Relu
from edgesmith.quantize import Quantized, Settings, open_samples, quantize
from edgesmith.quantize.labels import read_labels
from edgesmith.quantize.mixed_precision import (
    Agreement,
    Judge,
    OutputError,
    Top1,
    choose_floats,
    judge_for,
    sensitivity,
)
from edgesmith.quantize.recovery import RECOVERIES
from edgesmith.quantize.recovery.rounding import with_weight_parameters

from .recovery.networks import draft, evidence, feeds, uneven

COSTS = {"a": 5.0, "b": 3.0, "c": 2.0, "d": 1.0, "e": 0.5}


class Sum(Judge):
    """The loss is the sum of the costs of what is not in floats."""

    what = "points"

    def __init__(self) -> None:
        pass

    def loss(self, graph: Graph) -> float:
        return float(graph)  # type: ignore[arg-type]

    def _loss(self, got: np.ndarray) -> float:
        raise NotImplementedError


def build(floats: Collection[str]) -> Graph:
    return sum(v for k, v in COSTS.items() if k not in floats)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("budget", "floats"),
    [
        (11.5, ""),
        (20, ""),
        (7, "a"),
        (6.5, "a"),
        (3.5, "ab"),
        (1.5, "abc"),
        (0.5, "abcd"),
        (0.1, "abcde"),
        (0, "abcde"),
    ],
)
def test_fewest_layers_by_binary_search(budget: float, floats: str) -> None:
    found = choose_floats(build, lambda: "abcde", Sum(), budget)
    assert "".join(found.floats) == floats
    assert found.met and found.loss <= budget and found.before == 11.5


def test_layers_return_to_integers_where_the_ranking_was_wrong() -> None:
    found = choose_floats(build, lambda: "edcba", Sum(), 6.5)
    assert found.floats == ("a",) or len(found.floats) < 4
    assert found.met and build(found.floats) == found.loss


def test_a_ranking_is_made_only_where_it_is_needed() -> None:
    def never() -> list[str]:
        raise AssertionError

    assert choose_floats(build, never, Sum(), 12).floats == ()


def test_judges() -> None:
    graph = uneven(Relu())
    runs = list(feeds(graph, 20))
    exact = np.stack([graph.reference(x)[graph.outputs[0]] for x in runs])
    tops = exact.reshape(20, -1).argmax(1)
    labels = np.where(np.arange(20) < 15, tops, (tops + 1) % 5)
    rough = draft(graph, weight_bits=2).quantized()
    got = np.stack([rough.reference(x)[graph.outputs[0]] for x in runs])
    same = got.reshape(20, -1).argmax(1)
    judge = judge_for(graph, runs, labels)
    assert isinstance(judge, Top1) and judge.float_percent == 75
    assert judge.loss(rough) == pytest.approx(75 - 100 * np.mean(same == labels))
    other = judge_for(graph, runs, None)
    assert isinstance(other, Agreement)
    assert other.loss(rough) == pytest.approx(100 * np.mean(same != tops))
    error = OutputError(graph, runs).loss(rough)
    assert error == pytest.approx(100 * np.sqrt(np.sum((exact - got) ** 2) / np.sum(exact**2)), rel=1e-3)
    assert judge.loss(graph) == other.loss(graph) == 0
    with pytest.raises(BadInput, match="19 labels for 20 samples"):
        judge_for(graph, runs, labels[:19])


def test_sensitivity_tells_the_rough_layer() -> None:
    graph = uneven(Relu())
    graph = RECOVERIES["equalize"]().prepare(graph, Settings(), evidence(graph))
    made, rough = draft(graph), draft(graph, weight_bits=2)
    names = list(made.parameters.weights)
    made = with_weight_parameters(made, names[1], rough.parameters.weights[names[1]])
    judge = OutputError(graph, list(feeds(graph)))
    alone = sensitivity(lambda floats: made.with_floats(floats).quantized(), names, judge)
    others = sensitivity(lambda floats: made.with_floats(floats).quantized(), names, judge, alone=False)
    assert min(alone, key=alone.__getitem__) == names[1] == max(others, key=others.__getitem__)


def test_pipeline_keeps_layers_in_floats_and_says_so() -> None:
    graph = uneven(Relu(), average=False)
    inputs = {v: graph.type(v) for v in graph.inputs}

    def quantized(**settings: object) -> Quantized:
        chosen = Settings(weight_bits=2, **settings)  # type: ignore[arg-type]
        return quantize(graph, open_samples(lambda: data(graph), inputs), chosen)

    free = quantized()
    bound = quantized(max_accuracy_drop=5.0)
    assert free.choice is None and free.floats == {}
    assert bound.choice is not None and bound.choice.floats and bound.choice.met
    assert bound.choice.loss <= 5 < bound.choice.before
    assert set(bound.floats) == set(bound.choice.floats) and set(bound.floats.values()) == {
        "the accuracy budget keeps it"
    }
    assert bound.outputs[graph.outputs[0]].sqnr_db > free.outputs[graph.outputs[0]].sqnr_db
    assert bound.report()["accuracy_budget"]["met"]
    with pytest.raises(BadInput, match="recovery method 'adarund'"):
        quantized(recovery=("adarund",))


def data(graph: Graph) -> Iterator[dict[str, np.ndarray]]:
    yield from feeds(graph, 24)


def test_labels_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([1, 0, 2]))
    np.savez(tmp_path / "b.npz", y=np.array([1, 0, 2], np.uint8))
    (tmp_path / "c.txt").write_text("1\n0\n2\n")
    assert {read_labels(tmp_path / n) for n in ("a.npy", "b.npz", "c.txt")} == {(1, 0, 2)}
    np.save(tmp_path / "float.npy", np.array([0.5]))
    (tmp_path / "words.txt").write_text("cat\n")
    (tmp_path / "empty.txt").write_text("")
    for name in ("float.npy", "words.txt", "empty.txt", "missing.txt"):
        with pytest.raises(BadInput):
            read_labels(tmp_path / name)


def test_synthetic_data_recover_nothing() -> None:
    graph = uneven(Relu())
    inputs = {v: graph.type(v) for v in graph.inputs}
    plain, asked = (
        quantize(graph, open_samples("none", inputs, limit=4), Settings(recovery=methods), compared=0)
        for methods in ((), ("equalize", "bias-correction", "adaround"))
    )
    assert plain.graph.digest == asked.graph.digest
    real = quantize(graph, open_samples(lambda: data(graph), inputs), Settings(recovery=("equalize",)), compared=0)
    assert real.source.digest != graph.digest == asked.source.digest
