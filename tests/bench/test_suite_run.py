"""Suites: results are saved one by one, an interrupted run goes on, other settings are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import edgesmith
from bench import runtimes
from edgesmith import zoo
from edgesmith.bench import suite_run
from edgesmith.bench.installed import Installed
from edgesmith.bench.record import Record, Result, Settings
from edgesmith.bench.suite import Entry, Suite, load_suite, suite_names
from edgesmith.bench.suite_run import measure
from edgesmith.device import Artifact
from edgesmith.errors import BadInput, EdgesmithError, VerificationFailed
from edgesmith.report.suite import layers_page, page
from edgesmith.target import Machine

MACHINE = Machine("some processor", "avx2", 1, 1e11, ((1 << 14, 2e11), (1 << 27, 1e10)))
SUITE = Suite("small", "Two small products", (Entry("first"), Entry("second", 4)))
SETTINGS = Settings("small", SUITE.about, True, ("fine",), 2, "off", "some processor")


class Quiet:
    """Hears everything and keeps the results; stops after some."""

    def __init__(self, stop_after: int = 99) -> None:
        self.results: list[Result] = []
        self.failures: list[str] = []
        self._stop_after = stop_after

    def say(self, text: str) -> None: ...

    def pieces(self, text: str, done: int, total: int) -> None: ...

    def whole(self, text: str, done: int, total: int) -> None: ...

    def finished(self, result: Result) -> None:
        self.results.append(result)
        if len(self.results) == self._stop_after:
            raise KeyboardInterrupt

    def failed(self, name: str, error: EdgesmithError) -> None:
        self.failures.append(name)


@pytest.fixture
def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    monkeypatch.setattr(Entry, "model", lambda self: runtimes.model())
    monkeypatch.setattr(suite_run, "this_machine", lambda n, fresh: replace(MACHINE, threads=n))
    monkeypatch.setattr(suite_run, "PROFILE_REPETITIONS", (2, 3))
    return runtimes.installed(tmp_path, fine=runtimes.EXACT)


def build(model: onnx.ModelProto, name: str, folder: Path) -> Artifact:
    return edgesmith.compile(model, output=folder, name=name, tune="off")


def opened(file: Path, settings: Settings = SETTINGS) -> Record:
    return Record.open(file, settings, "command", {"versions": {}, "processor": "p", "cores": 2, "system": "s"})


@pytest.mark.toolchain
def test_an_interrupted_run_goes_on(peers: Installed, tmp_path: Path) -> None:
    file = tmp_path / "small.json"
    with pytest.raises(KeyboardInterrupt):
        measure(SUITE, opened(file), peers, (1, 2), build, Quiet(stop_after=3))
    kept = opened(file)
    assert [(r.name, r.threads) for r in kept.results] == [("first", 1), ("first", 2), ("second@4", 1)]
    before = file.read_text()
    listener = Quiet()
    measure(SUITE, kept, peers, (1, 2), build, listener)
    assert [(r.name, r.threads) for r in listener.results] == [("second@4", 2)]
    data, old = json.loads(file.read_text()), json.loads(before)
    assert data["results"][:3] == old["results"] and data["machines"] == old["machines"]
    listener = Quiet()
    measure(SUITE, opened(file), peers, (1, 2), build, listener)
    assert not listener.results

    record = opened(file)
    assert not list(tmp_path.glob(".small.json*"))
    result = record.results[0]
    assert result.program["macs"] == 4 * runtimes.DEPTH * runtimes.OUTPUTS
    assert result.program["resident_bytes"] >= result.program["weights_bytes"] + result.program["arena_bytes"]
    (product,) = [p for layer in result.layers for p in layer["products"]]
    assert (product["depth"], product["filters"], product["positions"]) == (runtimes.DEPTH, runtimes.OUTPUTS, 4)
    assert sum(layer["weight_bytes"] for layer in result.layers) == 4 * runtimes.DEPTH * runtimes.OUTPUTS
    assert record.results[0].comparison.ours.digest == record.results[1].comparison.ours.digest
    assert "second@4" in page(record) and "ms per image" in page(record)
    assert "first, 2 threads" in layers_page(record)


@pytest.mark.toolchain
def test_one_failure_does_not_stop_the_others(peers: Installed, tmp_path: Path) -> None:
    def fails_first(model: onnx.ModelProto, name: str, folder: Path) -> Artifact:
        if name == "first":
            raise VerificationFailed("differs")
        return build(model, name, folder)

    listener = Quiet()
    record = opened(tmp_path / "small.json")
    measure(SUITE, record, peers, (1,), fails_first, listener)
    assert listener.failures == ["first"]
    assert [r.name for r in record.results] == ["second@4"]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "small.json"
    opened(file).save()
    with pytest.raises(BadInput, match="rounds 2 instead of 7") as error:
        opened(file, replace(SETTINGS, rounds=7))
    assert "--fresh" in error.value.hint
    for text in ("", "[]", "{}", '{"format": 0}', file.read_text()[:-20]):
        file.write_text(text)
        with pytest.raises(BadInput, match="holds no results"):
            opened(file)


def test_suites_name_what_they_promise() -> None:
    assert set(suite_names()) == {"edge", "int8", "tiny"}
    edge, tiny = load_suite("edge"), load_suite("tiny")
    assert len(edge.entries) == 13 and not edge.per_image
    assert [e.batch for e in tiny.entries] == [2**k for k in range(9)] and tiny.per_image
    assert [e.name for e in tiny.only(["face-cnn@8"]).entries] == ["face-cnn@8"]
    with pytest.raises(BadInput, match="no-such"):
        edge.only(["no-such"])
    with pytest.raises(BadInput, match="edge, int8, tiny"):
        load_suite("large")


def test_networks_of_a_quantised_suite_are_quantised() -> None:
    kinds = {n.op_type for n in Entry("lenet-5", precision="int8").model().graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert all(e.precision == "int8" for e in load_suite("int8").entries)


@pytest.mark.parametrize("name", ["edge", "int8", "tiny"])
def test_networks_are_in_the_zoo(name: str) -> None:
    assert {e.network for e in load_suite(name).entries} <= set(zoo.names())
