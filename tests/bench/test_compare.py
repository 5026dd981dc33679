"""Runtimes next to one another: who counts, who is absent and why."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import edgesmith
from bench import runtimes
from edgesmith import knobs
from edgesmith.bench.compare import Comparison, Contest
from edgesmith.bench.converted import converted
from edgesmith.bench.installed import Installed
from edgesmith.bench.worker import PeerFailed
from edgesmith.device import Artifact
from edgesmith.errors import BadInput

pytestmark = pytest.mark.toolchain


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return edgesmith.compile(runtimes.model(), output=tmp_path_factory.mktemp("program") / "out", name="product")


@pytest.fixture(autouse=True)
def own_peer_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(knobs, "CACHE_DIR", lambda: tmp_path / "cache")


def compare(program: Artifact, peers: Installed, model: onnx.ModelProto | None = None) -> Comparison:
    with Contest(model or runtimes.model(), peers, quiet) as contest:
        return contest.compare(program, rounds=2)


def test_only_single_precision_counts(program: Artifact, tmp_path: Path) -> None:
    found = compare(program, runtimes.installed(tmp_path, slow=runtimes.SLOW, half=runtimes.HALF))
    assert found.peers == ("slow", "half")
    assert found.reduced("half") and not found.reduced("slow") and not found.reduced("edgesmith")
    assert found.best == "slow" and found.ratio("slow") > 1
    assert found.measured["slow"].times.least > 2e6
    assert found.measured["slow"].settings == {"sleeps": "2 ms"}
    assert all(m.repeats for m in found.measured.values())
    assert not found.absent


def test_absent_peers_have_reasons(program: Artifact, tmp_path: Path) -> None:
    peers = runtimes.installed(
        tmp_path,
        fine=runtimes.EXACT,
        refuses=runtimes.REFUSES,
        dies=runtimes.DIES,
        later=runtimes.DIES_LATER,
        stuck=runtimes.CANNOT_CONVERT,
    )
    peers.absent["missing"] = "no wheel"
    found = compare(program, peers)
    assert found.peers == ("fine",) and found.best == "fine"
    assert found.absent["missing"] == "no wheel"
    assert "no MatMul here" in found.absent["refuses"]
    assert "status 3" in found.absent["dies"] and "out of luck" in found.absent["dies"]
    assert "status 4" in found.absent["later"]
    assert found.absent["stuck"] == "cannot convert the model: ValueError: too new a model"


def test_survives_a_round_trip_through_json(program: Artifact, tmp_path: Path) -> None:
    found = compare(program, runtimes.installed(tmp_path, fine=runtimes.EXACT, half=runtimes.HALF))
    again = Comparison.from_json(found.to_json())
    assert again.to_json() == found.to_json()
    assert again.best == "fine" and again.reduced("half")


def test_alone_without_a_model(program: Artifact) -> None:
    with Contest(None, Installed(), quiet) as contest:
        found = contest.compare(program, rounds=1)
    assert found.best is None and not found.peers and not found.reduced("edgesmith")


def test_another_model_is_refused(program: Artifact, tmp_path: Path) -> None:
    other = runtimes.model()
    other.graph.output[0].name = "other"
    other.graph.node[-1].output[0] = "other"
    with pytest.raises(BadInput, match="other"):
        compare(program, runtimes.installed(tmp_path, fine=runtimes.EXACT), other)


def test_converted_models_are_kept_whole_or_not_at_all(program: Artifact, tmp_path: Path) -> None:
    peers = runtimes.installed(tmp_path, converts=runtimes.CONVERTS, stuck=runtimes.CANNOT_CONVERT)
    file = tmp_path / "model.onnx"
    onnx.save(runtimes.model(), file)
    folder = converted(peers.peers[0], peers, file)
    (folder / "seen").touch()
    assert converted(peers.peers[0], peers, file) == folder and (folder / "seen").exists()
    with pytest.raises(PeerFailed):
        converted(peers.peers[1], peers, file)
    assert list(folder.parent.iterdir()) == [folder]
    assert compare(program, peers).best == "converts"


def test_a_peer_may_not_take_forever(program: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knobs.PEER_SECONDS.name, "3")
    sleeper = "def load(*a):\n    time.sleep(60)\n"
    found = compare(program, runtimes.installed(tmp_path, sleeper=sleeper))
    assert "more than 3 s" in found.absent["sleeper"]
