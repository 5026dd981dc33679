"""The search with a timer that stands in for the machine: what it finds, what it measures, how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from edgesmith import zoo
from edgesmith.ir import Graph
from edgesmith.kernels import KERNELS
from edgesmith.plan import make_plan
from edgesmith.target import parse
from edgesmith.tune import Database, MeasuredCost, Measurements, Status, Tuned
from edgesmith.tune.database import freeze
from edgesmith.tune.search import Search
from edgesmith.tune.timer import Times
from edgesmith.tune.trial import Trial
from small_networks import residual_network

from .networks import HERE, FakeTimer, deviation, graph_of

TARGET = parse("x86_64-linux-gnu+avx2")


@pytest.fixture(scope="module")
def residual() -> Graph:
    return graph_of(residual_network())


@pytest.fixture(scope="module")
def mobile() -> Graph:
    return graph_of(zoo.build("mobilenet-v2"))


def search(graph: Graph, timer: FakeTimer, database: Database | None = None, **options: object) -> Tuned:
    database = database or Database()
    known = Measurements.open(HERE, database)
    return Search(graph, TARGET, timer, known, database, clock=timer.clock, **options).run()  # type: ignore[arg-type]


def key(trial: Trial) -> tuple[str, str, str]:
    return trial.problem.signature, trial.kernel.name, freeze(trial.schedule)


def test_a_finished_search_is_close_to_the_best_of_all_candidates(residual: Graph) -> None:
    timer = FakeTimer()
    tuned = search(residual, timer)
    assert tuned.finished

    def cost(kernel: object, problem: object, schedule: object) -> float:
        return timer.time_ns(Trial(problem, kernel, schedule)) or 0.0  # type: ignore[arg-type]

    best = make_plan(residual, TARGET, cost)
    least = sum(cost(s.kernel, s.problem, s.schedule) for s in best.steps)
    found = sum(cost(s.kernel, s.problem, s.schedule) for s in tuned.plan.steps)
    assert found <= 1.05 * least
    assert found == pytest.approx(sum(tuned.plan_ns.values()))
    assert sum(tuned.first_ns.values()) >= found


@pytest.mark.parametrize("fused", [True, False])
def test_regions_are_chosen_by_time(residual: Graph, fused: bool) -> None:
    tuned = search(residual, FakeTimer(lambda t: 0.1 if (len(t.problem.region.nodes) > 1) == fused else 10.0))
    regions = [s for s in tuned.plan.steps if len(s.region.nodes) > 1]
    assert bool(regions) == fused


def test_equal_layers_are_measured_once(mobile: Graph) -> None:
    timer = FakeTimer(clock_seconds=1.0)
    with Database() as database:
        first = search(mobile, timer, database, budget_seconds=60.0)
        assert len({key(t) for t in timer.seen}) == first.status.measured
        assert len({s.problem.signature for s in first.plan.steps}) < len(first.plan.steps)
        seen = len(timer.seen)
        second = search(mobile, timer, database, budget_seconds=timer.seconds + 60.0)
        measured = first.status.measured + second.status.measured
        assert len({key(t) for t in timer.seen}) == measured > seen, "the second search goes on from the first"


def test_nothing_is_left_after_a_finished_search(residual: Graph) -> None:
    with Database() as database:
        first = search(residual, FakeTimer(), database)
        second = search(residual, FakeTimer(), database)
        assert first.finished and second.finished
        assert second.status.measured <= first.status.measured // 4
        assert second.plan.lock == first.plan.lock or sum(second.plan_ns.values()) < sum(first.plan_ns.values())


def test_the_budget_is_kept(mobile: Graph) -> None:
    timer = FakeTimer(clock_seconds=1.0)
    told: list[Status] = []
    tuned = search(mobile, timer, budget_seconds=60.0, progress=told.append)
    assert not tuned.finished
    assert 40 <= timer.seconds <= 75
    assert tuned.status.measured == len({key(t) for t in timer.seen})
    best = [s.best_ns for s in told if s.best_ns is not None]
    assert best == sorted(best, reverse=True)
    assert sum(tuned.plan_ns.values()) <= sum(tuned.first_ns.values())


def test_an_interrupted_search_keeps_what_it_found(residual: Graph) -> None:
    with Database() as database:
        tuned = search(residual, FakeTimer(interrupt_after=30), database)
        assert not tuned.finished
        kept = len(list(database.records(HERE)))
        assert 0 < kept <= 30
        again = make_plan(residual, TARGET, MeasuredCost(Measurements.open(HERE, database)))
        assert again.lock == tuned.plan.lock == make_plan(residual, TARGET, lock=tuned.plan.lock).lock


def test_an_interruption_before_anything_was_measured(residual: Graph) -> None:
    tuned = search(residual, FakeTimer(interrupt_after=0))
    assert tuned.plan.lock == tuned.first.lock


def test_what_the_compiler_refuses_is_not_chosen(residual: Graph) -> None:
    refused = make_plan(residual, TARGET).steps[0].kernel.name
    tuned = search(residual, FakeTimer(lambda t: None if t.kernel.name == refused else deviation(t)))
    assert refused not in {s.kernel.name for s in tuned.plan.steps}
    assert tuned.refused and all(refused in text for text in tuned.refused)


def test_forbidden_kernels_are_not_measured(residual: Graph) -> None:
    timer = FakeTimer()
    only = sorted(set(KERNELS) - {"gemm", "direct"})
    tuned = search(residual, timer, only=only)
    assert {t.kernel.name for t in timer.seen} | {s.kernel.name for s in tuned.plan.steps} <= set(only)


class BusyTimer(FakeTimer):
    """Every second batch takes four times as long."""

    batches = 0

    def time(self, groups: Sequence[Sequence[Trial]]) -> Iterator[list[Times | None]]:
        self.batches += 1
        for found in super().time(groups):
            yield [t and Times(tuple(x * (1.0 if self.batches % 2 else 4.0) for x in t.runs)) for t in found]


def test_a_machine_that_is_busy_now_and_then_does_not_decide(residual: Graph) -> None:
    timer, busy = FakeTimer(), BusyTimer()
    expected, found = search(residual, timer), search(residual, busy)
    assert busy.batches > 2 and found.finished

    def time_ns(tuned: Tuned) -> float:
        return sum(timer.time_ns(Trial(s.problem, s.kernel, s.schedule)) or 0.0 for s in tuned.plan.steps)

    assert time_ns(found) <= 1.05 * time_ns(expected)
