"""A program that is wrong somewhere is found out, and the place is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgesmith import api
from edgesmith.errors import ArtifactError, VerificationFailed
from edgesmith.ir import Graph
from edgesmith.kernels import KERNELS, Code, Kernel, Problem, Schedule
from edgesmith.ops import OPS
from edgesmith.pipeline import making
from edgesmith.plan.arena import Arena, Lifetime, allocate
from edgesmith.verify.accumulate import accumulate
from small_networks import NETWORKS, residual_network, shuffle_network, two_inputs

pytestmark = pytest.mark.toolchain


def compile_quietly(model: onnx.ModelProto, output: Path, **options: Any):  # type: ignore[no-untyped-def]
    return api.compile(model, output=output, cache=False, **options)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("target", ["native", "portable"])
def test_honest_programs_pass_with_room_to_spare(name: str, target: str, tmp_path: Path) -> None:
    model = NETWORKS[name]()
    artifact = compile_quietly(model, tmp_path / "out", target=target)
    found = artifact.verification
    assert found is not None and found["ok"]
    for seed in (1, 2):
        result = api.verify(artifact, model, seed=seed)
        assert result.ok, result.report()
        assert result.first_wrong is None
        rows = result.table()
        assert sorted(r["step"] for r in rows if r["step"] is not None) == list(range(len(artifact.program.steps)))
        result.require()


def test_the_running_error_stays_within_what_accumulation_allows(tmp_path: Path) -> None:
    model = residual_network()
    artifact = compile_quietly(model, tmp_path / "out")
    for seed in range(4):
        for row in api.verify(artifact, model, seed=seed).table():
            assert row["accumulated_error"] <= row["accumulated_tolerance"], row


def spoil(monkeypatch: pytest.MonkeyPatch, layer: str, size: int, amount: float) -> None:
    """Make the kernel of one layer use constants of ``size`` elements that are wrong by ``amount``."""
    for kind in {type(k) for k in KERNELS.values()}:
        emit = kind.emit

        def wrong(self: Kernel, problem: Problem, schedule: Schedule, emit: Any = emit) -> Code:
            code: Code = emit(self, problem, schedule)
            if problem.anchor.name != layer:
                return code
            constants = tuple(c + np.float32(amount) if c.size == size else c for c in code.constants)
            assert any(c.size == size for c in code.constants)
            return replace(code, constants=constants)

        monkeypatch.setattr(kind, "emit", wrong)


def test_a_wrong_bias_is_named_and_the_old_artifact_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = residual_network(), tmp_path / "out"
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
    before = compile_quietly(model, out)(x)
    files = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    # Portable C keeps constants as they are, so the bias is easy to find.
    spoil(monkeypatch, "/pointwise", 8, 1e-3)
    with pytest.raises(VerificationFailed) as caught:
        compile_quietly(model, out, target="portable")
    message = str(caught.value)
    assert "first wrong layer" in message and "/pointwise" in message and "allowed" in message
    assert "portable" in message and str(tmp_path / "out.failed") in message
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == files
    after = api.Artifact(out)(x)
    assert all(np.array_equal(before[v], after[v]) for v in before)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.failed"]
    failed = tmp_path / "out.failed"
    assert "/pointwise" in (failed / "report.txt").read_text()
    assert (failed / "src" / "weights.bin").is_file()
    evidence = np.load(failed / "first_wrong_layer.npz")
    expected = next(evidence[k] for k in evidence.files if k.startswith("expected:"))
    got = next(evidence[k] for k in evidence.files if k.startswith("got:"))
    assert np.abs(got - expected).max() == pytest.approx(1e-3, rel=0.2)
    with pytest.raises(ArtifactError):
        api.Artifact(failed)
    with pytest.raises(VerificationFailed):  # evidence of an earlier failure is replaced
        compile_quietly(model, out, target="portable")


def test_no_verify_lets_a_wrong_program_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "/pointwise", 8, 1e-3)
    artifact = compile_quietly(residual_network(), tmp_path / "out", target="portable", verify=False)
    assert artifact.verification is None
    result = api.verify(artifact, residual_network())
    assert not result.ok and result.first_wrong is not None
    assert result.first_wrong.origin == ("/pointwise",) or "/pointwise" in result.first_wrong.origin
    assert [layer.ok for layer in result.layers].count(False) == 1
    with pytest.raises(VerificationFailed, match="/pointwise"):
        result.require()


def test_a_wrong_pass_is_caught_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = making.optimize

    def wrong(graph: Graph):  # type: ignore[no-untyped-def]
        graph, report = honest(graph)
        bias = next(v for v in graph.constants if v.startswith("right.bias"))
        changed = {**graph.constants, bias: graph.constants[bias] + np.float32(0.01)}
        return Graph(graph.inputs, graph.outputs, graph.nodes, graph.types, changed, graph.name), report

    monkeypatch.setattr(making, "optimize", wrong)
    with pytest.raises(VerificationFailed, match="a conversion or a pass changed"):
        compile_quietly(residual_network(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_view_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = OPS["Slice"]
    honest = kind.views  # type: ignore[attr-defined]

    def shifted(self: Any, view: Any) -> Sequence[Any]:
        return tuple(v if v is None else replace(v, offset=v.offset - 8) for v in honest(self, view))

    monkeypatch.setattr(kind, "views", shifted)
    with pytest.raises(VerificationFailed, match="/window"):
        compile_quietly(shuffle_network(), tmp_path / "out")


def test_a_wrong_memory_plan_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_in_one_place(buffers: dict[str, Lifetime]) -> Arena:
        good = allocate(buffers)
        return replace(good, offsets=dict.fromkeys(good.offsets, 0))

    monkeypatch.setattr("edgesmith.plan.memory.allocate", all_in_one_place)
    with pytest.raises(VerificationFailed, match="first wrong layer"):
        compile_quietly(residual_network(), tmp_path / "out")


def test_verifying_against_another_model_is_refused(tmp_path: Path) -> None:
    artifact = compile_quietly(residual_network(0), tmp_path / "out")
    with pytest.raises(ArtifactError, match="not compiled from this model"):
        api.verify(artifact, residual_network(1))


def test_own_inputs_can_be_given(tmp_path: Path) -> None:
    artifact = compile_quietly(residual_network(), tmp_path / "out")
    x = 50 * np.random.default_rng(3).standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert api.verify(artifact, residual_network(), inputs={"x": x}).ok


def test_non_finite_inputs_give_the_same_non_finite_outputs(tmp_path: Path) -> None:
    model = two_inputs()
    artifact = compile_quietly(model, tmp_path / "out")
    rng = np.random.default_rng(0)
    feeds = {"a": rng.standard_normal((4, 6), np.float32), "b": rng.standard_normal((6, 3), np.float32)}
    feeds["a"][1, 2], feeds["a"][3, 0] = np.nan, np.inf
    result = api.verify(artifact, model, inputs={**feeds, "n": np.arange(4)})
    assert result.ok, result.report()
    assert np.isnan(artifact(**feeds, n=np.arange(4))["y"]).any()


def test_accumulated_tolerances_follow_the_network() -> None:
    graph = api.optimize(api.bind(api.normalize(shuffle_network())))[0]
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 6)).astype(np.float32)
    known = accumulate(graph, {"x": x})
    again = accumulate(graph, {"x": x})
    assert known.tolerances == again.tolerances
    scores = float(np.abs(known.outputs["scores"]).max())
    assert 1e-7 * scores < known.tolerances["scores"] < 1e-3 * scores
    assert known.tolerances["best"] == 0
    coarse = accumulate(graph, {"x": x}, roundoff=2.0**-11)
    assert coarse.tolerances["scores"] > 20 * known.tolerances["scores"]
    # A tie that rounding decides is known as such.
    tied = accumulate(graph, {"x": np.zeros_like(x)})
    assert tied.unstable["best"].shape == (2, 5, 4)
