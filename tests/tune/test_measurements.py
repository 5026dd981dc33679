"""Measured times as a cost model: what counts, and what no longer does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgesmith.kernels import KERNELS, Problem
from edgesmith.plan import make_plan
from edgesmith.target import parse
from edgesmith.tune import Database, MeasuredCost, Measurements, Record
from edgesmith.tune import database as module
from edgesmith.tune.database import freeze
from edgesmith.tune.features import code_digest, problem_digest, problem_features
from edgesmith.tune.measurements import OWN, SIMILAR
from small_networks import residual_network

from .networks import HERE, PROCESSOR, graph_of

TARGET = parse("x86_64-linux-gnu+avx2")
SIBLING = replace(HERE, processor=replace(PROCESSOR, name="Test CPU 2", stepping="1"))
STRANGER = replace(HERE, processor=replace(PROCESSOR, family="6"))


@pytest.fixture(scope="module")
def problem() -> Problem:
    plan = make_plan(graph_of(residual_network()), TARGET)
    return next(s.problem for s in plan.steps if len(KERNELS[s.kernel.name].schedules(s.problem)) > 4)


def records(problem: Problem, factor: float = 1.0, code: str | None = None) -> list[Record]:
    """Every candidate, in the order of the kernels, each slower than the one before."""
    found = []
    for kernel in KERNELS.values():
        if kernel.accepts(problem) is None:
            for schedule in kernel.schedules(problem):
                digest = code or code_digest(kernel.emit(problem, schedule))
                times = (100.0 * factor * (len(found) + 1),) * 2
                found.append(
                    Record(problem_digest(problem), kernel.name, freeze(schedule), digest, 50.0, *times, 0.0, 5)
                )
    return found


def known(problem: Problem, *sets: tuple[object, list[Record]]) -> Measurements:
    with Database() as database:
        for environment, found in sets:
            features = {problem_digest(problem): problem_features(problem)}
            database.insert(environment, features, found)  # type: ignore[arg-type]
        return Measurements.open(HERE, database)


def test_the_fastest_measured_candidate_is_chosen(problem: Problem) -> None:
    mine = records(problem)
    cost = MeasuredCost(known(problem, (HERE, mine)))
    for record in mine:
        schedule = next(s for s in KERNELS[record.kernel].schedules(problem) if freeze(s) == record.schedule)
        assert cost(KERNELS[record.kernel], problem, schedule) == record.least_ns


def test_what_was_not_measured_is_out_of_the_question_where_something_was(problem: Problem) -> None:
    mine = records(problem)
    cost = MeasuredCost(known(problem, (HERE, mine[:1])))
    kernel = KERNELS[mine[0].kernel]
    times = [cost(kernel, problem, s) for s in kernel.schedules(problem)]
    assert min(times) == mine[0].least_ns and times.count(float("inf")) == len(times) - 1


def test_times_of_code_that_has_changed_do_not_count(problem: Problem) -> None:
    stale = records(problem, code="code of another version")
    found = known(problem, (HERE, stale))
    assert found.of(problem) == []
    fresh = records(problem)[-1:]
    assert [m.record for m in known(problem, (HERE, stale + fresh)).of(problem)][:1] == fresh


def test_similar_machines_stand_in_and_others_do_not(problem: Problem) -> None:
    theirs = records(problem, factor=0.5)
    assert known(problem, (STRANGER, theirs)).of(problem) == []
    assert {m.source for m in known(problem, (SIBLING, theirs)).of(problem)} == {SIMILAR}
    both = known(problem, (SIBLING, theirs), (HERE, records(problem)[3:4]))
    assert [m.source for m in both.of(problem)] == [OWN]


def test_times_of_a_faster_machine_are_scaled(problem: Problem) -> None:
    plan = make_plan(graph_of(residual_network()), TARGET)
    other = next(s.problem for s in plan.steps if problem_digest(s.problem) != problem_digest(problem))
    features = {problem_digest(p): problem_features(p) for p in (problem, other)}
    with Database() as database:
        database.insert(SIBLING, features, records(problem, 0.5) + records(other, 0.5))
        database.insert(HERE, features, records(problem))
        found = Measurements.open(HERE, database)
    assert min(found.times(other).values()) == pytest.approx(100.0)


def test_the_starter_database_stands_in(problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "starter.jsonl.xz"
    with Database() as database:
        features = {problem_digest(problem): problem_features(problem)}
        database.insert(SIBLING, features, records(problem))
        database.insert(STRANGER, features, records(problem, 0.1))
        database.export(path, best=3)
    monkeypatch.setattr("edgesmith.tune.measurements.starter", lambda: path)
    with Database() as empty:
        found = Measurements.open(HERE, empty).of(problem)
    assert [m.record for m in found] == records(problem)[:3]
    assert module.starter() is None or module.starter() != path


def test_the_shipped_records_can_be_read() -> None:
    shipped = module.starter()
    if shipped is None:
        pytest.skip("the package ships no records")
    with Database() as database:
        assert database.load(shipped) > 0
    assert shipped.stat().st_size < 1 << 20


def test_the_number_of_cores_does_not_matter(problem: Problem) -> None:
    more = replace(problem, target=replace(problem.target, cores=problem.target.cores + 7))
    assert problem_digest(more) == problem_digest(problem)
    assert problem_digest(replace(problem, target=parse("x86_64-linux-gnu+avx512"))) != problem_digest(problem)
