"""The learned cost model: it finds what the kernels' own predictions miss."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest

from edgesmith.tune import Record
from edgesmith.tune.database import Features, freeze
from edgesmith.tune.learned import LEAST_RECORDS, Learned, cross_validated, ranks_better
from edgesmith.tune.predict import Calibrated, Candidates, ranking_quality

pytest.importorskip("sklearn")

SCHEDULES = [{"rows": rows, "vectors": vectors} for rows in range(1, 8) for vectors in range(1, 5)]


def factor(features: Features, schedule: dict[str, int]) -> float:
    """How the machine deviates from the prediction: it spills registers, short rows are slow."""
    spills = 3.0 if schedule["rows"] * schedule["vectors"] > 14 else 1.0
    return spills * (1.0 + (4.0 if float(features["width"]) > 20 else 1.0) / schedule["rows"])


def problems(count: int) -> dict[str, Features]:
    rng = np.random.default_rng(0)
    return {f"p{i}": {"width": float(rng.integers(3, 60)), "macs": float(rng.integers(1, 99))} for i in range(count)}


def records(features: dict[str, Features]) -> list[Record]:
    found = []
    for digest, known in features.items():
        for s in SCHEDULES:
            own = float(known["macs"]) * (1 + 0.1 * s["rows"])
            noise = 1 + zlib.crc32(f"{digest}{s}".encode()) % 100 / 5000
            time = own * factor(known, s) * noise
            found.append(Record(digest, "gemm", freeze(s), "c", own, time, time, 0.0, 5))
    return found


def test_it_ranks_unseen_problems_better_than_the_kernels_do() -> None:
    features = problems(30)
    quality = cross_validated(records(features), features)
    assert quality["learned"]["problems"] == 30
    assert ranks_better(records(features), features)
    assert quality["learned"]["regret_top1"] < quality["analytic"]["regret_top1"] / 2
    assert quality["learned"]["spearman"] > 0.9 > quality["analytic"]["spearman"]


def test_equal_data_give_equal_predictions() -> None:
    features = problems(12)
    space = Candidates("gemm", {"width": 17.0, "macs": 5.0}, {freeze(s): s for s in SCHEDULES}, np.ones(len(SCHEDULES)))
    empty = Candidates("gemm", {}, {}, np.empty(0))
    known = records(features)
    one, other = Learned(known, features), Learned(known[::-1], features)
    first, nothing, again = one.predict_ns([space, empty, space])
    assert np.array_equal(first, other.predict_ns([space])[0]) and np.array_equal(first, again)
    assert nothing.size == 0 and one.predict_ns([]) == []
    assert one.uncertainty == other.uncertainty < 0.5


def test_few_records_are_not_enough() -> None:
    features = problems(2)
    with pytest.raises(ValueError, match="needs"):
        Learned(records(features)[: LEAST_RECORDS - 1], features)
    assert cross_validated(records(features), features) == {}
    assert not ranks_better(records(features), features)


def test_calibration_corrects_each_kernel_by_its_fastest_records() -> None:
    known = [
        Record("p", "gemm", "{}", "c", 10.0, 20.0, 20.0, 0.0, 5),
        Record("p", "gemm", '{"rows":1}', "c", 10.0, 90.0, 90.0, 0.0, 5),
        Record("q", "direct", "{}", "c", 10.0, 5.0, 5.0, 0.0, 5),
    ]
    model = Calibrated(known)
    spaces = [Candidates(k, {}, {"{}": {}}, np.array([100.0])) for k in ("gemm", "direct", "winograd")]
    gemm, direct, unknown = (float(t[0]) for t in model.predict_ns(spaces))
    assert (gemm, direct) == (pytest.approx(200.0), pytest.approx(50.0))
    assert direct < unknown < gemm
    assert Calibrated([]).predict_ns(spaces)[0][0] == 100.0


def test_ranking_quality() -> None:
    perfect = ranking_quality({"p": [(1, 10), (2, 20), (3, 30), (4, 40)]})
    assert perfect == {
        "problems": 1,
        "spearman": pytest.approx(1),
        "regret_top1": 0,
        "regret_top3": 0,
        "regret_top5": 0,
    }
    reverse = ranking_quality({"p": [(4, 10), (3, 20), (2, 30), (1, 40)], "two are too few": [(1, 2), (2, 1)]})
    assert reverse["spearman"] == pytest.approx(-1)
    assert math.isclose(reverse["regret_top1"], 3) and math.isclose(reverse["regret_top3"], 1)
