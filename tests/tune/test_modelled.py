"""Times of a model of a core, under QEMU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgesmith.cli.app import app
from edgesmith.counting.mca import tool
from edgesmith.errors import MissingDependency, TargetError
from edgesmith.kernels import KERNELS
from edgesmith.plan import make_plan
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.tune.database import Database, Record, freeze
from edgesmith.tune.features import code_digest, problem_digest, problem_features
from edgesmith.tune.measurements import MODELLED, OWN, Measurements
from edgesmith.tune.modelled import ModelledTimer
from edgesmith.tune.session import environment, modelled_environment
from edgesmith.tune.timer import BY_COMPILER, Times
from edgesmith.tune.trial import Trial
from foreign import missing_emulator
from small_networks import residual_network

from .networks import graph_of

pytestmark = pytest.mark.toolchain


def _missing() -> str:
    try:
        tool()
    except MissingDependency as error:
        return error.why
    return missing_emulator("neon")


needs_model = pytest.mark.skipif(bool(_missing()), reason=_missing() or "present")


@needs_model
def test_times_of_a_model_repeat_exactly_and_leave_out_code_that_does_not_compile() -> None:
    target = parse("raspberry-pi-4")
    step = next(s for s in make_plan(graph_of(residual_network()), target).steps if s.kernel.name != "elementwise")
    schedules = step.kernel.schedules(step.problem)
    good = [Trial(step.problem, step.kernel, s) for s in (schedules[0], schedules[-1])]
    bad = Trial(step.problem, step.kernel, schedules[0])
    bad.__dict__["code"] = replace(bad.code, text="this is no C\n")
    timer = ModelledTimer(target, zig())
    ((first, second, refused),) = timer.time([[*good, bad]])
    assert refused == BY_COMPILER and isinstance(first, Times) and isinstance(second, Times)
    assert first.least > 0 and second.least > 0
    ((again,),) = timer.time([good[:1]])
    assert again == first


def test_a_core_without_a_model_is_refused() -> None:
    with pytest.raises(TargetError, match=r"no model of Cortex-A53 is known"):
        ModelledTimer(parse("raspberry-pi-3"), zig())


def test_times_of_a_model_never_pass_for_measured_ones(tmp_path: Path) -> None:
    """They count where nothing was measured on the device, and are called what they are."""
    target, tool = parse("raspberry-pi-4"), zig()
    real, model = environment(target, tool), modelled_environment(target, tool)
    assert not real.resembles(model) and not model.resembles(real)
    step = make_plan(graph_of(residual_network()), target).steps[0]
    kernel, schedule, digest = step.kernel, freeze(step.schedule), problem_digest(step.problem)
    code = code_digest(KERNELS[kernel.name].emit(step.problem, step.schedule))
    features = {digest: problem_features(step.problem)}
    with Database(tmp_path / "times.sqlite") as database:
        database.insert(model, features, [Record(digest, kernel.name, schedule, code, 1.0, 10.0, 10.0, 0.0, 1)])
        assert not Measurements.open(real, database).of(step.problem)
        (found,) = Measurements.open(real, database, model).of(step.problem)
        assert found.source == MODELLED and found.record.least_ns == 10
        database.insert(real, features, [Record(digest, kernel.name, schedule, code, 1.0, 70.0, 70.0, 0.0, 5)])
        (found,) = Measurements.open(real, database, model).of(step.problem)
        assert found.source == OWN and found.record.least_ns == 70


def test_an_unknown_basis_is_refused() -> None:
    done = CliRunner().invoke(app, ["tune", "zoo:lenet-5", "--by", "wishes"])
    assert done.exit_code != 0
    assert "wishes" in str(done.exception) + done.output
