"""Tables and pictures say what the data say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgesmith.bench.compare import Comparison, Measured
from edgesmith.bench.record import Record, Result, Settings
from edgesmith.bench.timing import Times
from edgesmith.report.pictures import draw
from edgesmith.report.shortfall import effects, explain, share
from edgesmith.report.suite import layers_page, line, page, write_report
from edgesmith.target import Machine

MACHINE = Machine("some processor", "avx2", 1, 1e11, ((1 << 15, 2e11), (1 << 20, 1e11), (1 << 27, 1e10)))
PROGRAM: dict[str, Any] = {
    "lanes": 8,
    "macs": 1_000_000,
    "code_bytes": 100_000,
    "weights_bytes": 4_000_000,
    "prepared_bytes": 0,
    "arena_bytes": 1_000_000,
    "arena_lower_bound_bytes": 1_000_000,
    "resident_bytes": 5_000_000,
}


def layer(least_us: float, limit_us: float, bound: str = "compute", **more: Any) -> dict[str, Any]:
    return {
        "name": "conv",
        "operators": "Conv+Relu",
        "kernel": "gemm",
        "macs": 500_000,
        "flops": 0,
        "bytes": 20_000,
        "weight_bytes": 0,
        "time_ns": least_us * 1.1e3,
        "least_ns": least_us * 1e3,
        "limit_ns": limit_us * 1e3,
        "bound": bound,
        "schedule": {},
        "tasks": 8,
        "shape": [[1, 64, 28, 28]],
        "measured": True,
        "products": [],
    } | more


def product(filters: int, depth: int = 1000, groups: int = 1, kernel: int = 1, positions: int = 784) -> dict[str, Any]:
    return {
        "kernel": [kernel, kernel],
        "strides": [1, 1],
        "groups": groups,
        "depth": depth,
        "filters": filters,
        "positions": positions,
        "width": 28,
    }


def result(network: str, ours: float, **peers: float) -> Result:
    """Times in milliseconds; the peer ``fast`` computes in half precision."""
    measured = {
        name: Measured(Times(((ms * 1e6,), (ms * 1e6,))), 1e-2 if name == "fast" else 1e-6, {"mode": name}, "d", True)
        for name, ms in {"edgesmith": ours, **peers}.items()
    }
    layers = [layer(80, 40, name="far"), layer(20, 19, name="near")]
    return Result(network, 1, Comparison(measured, {"lost": "no wheel"}, 1e-4, 1), PROGRAM, layers)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    settings = Settings("edge", "Some networks", False, ("slow", "fast", "lost"), 2, "cached", "some processor")
    environment = {"processor": "some processor", "cores": 2, "system": "Linux", "versions": {"numpy": "2"}}
    results = [result("one", 1.0, slow=2.0, fast=0.5), result("two", 1.0, slow=8.0, fast=4.0)]
    return Record(tmp_path / "edge.json", settings, "edgesmith bench", environment, {1: MACHINE}, results)


def test_table_counts_single_precision_alone(record: Record) -> None:
    text = page(record)
    rows = {
        cells[1]: cells for cells in ([c.strip() for c in row.split("|")] for row in text.splitlines() if "±" in row)
    }
    assert rows["one"][2:] == ["1.000 ±0%", "2.000 ±0%", "0.500 ±0% *", "absent", "slow", "**2.00**", ""]
    assert rows["two"][6:8] == ["slow", "**8.00**"]
    assert "Geometric mean of the ratios: **4.00**; smallest: **2.00** (one)." in text
    assert "Absent: lost (all networks): no wheel." in text
    assert line(record.results[0]).startswith("one, 1 thread: edgesmith 1.000, slow 2.000, fast 0.500 ms; 2.00 times")


def test_layers_far_from_the_limit_have_reasons(record: Record) -> None:
    rows = [row for row in layers_page(record).splitlines() if row.startswith(("| far", "| near"))]
    assert all("not explained" in row for row in rows if row.startswith("| far"))
    assert all(row.endswith("|  |") for row in rows if row.startswith("| near"))


def test_report_is_written_whole_and_the_same_again(record: Record) -> None:
    files = list(write_report(record))
    assert {f.name for f in files} == {
        *("edge.md", "edge-layers.md"),
        *("edge-bars-1.svg", "edge-roofline-1.svg", "edge-layers-1.svg"),
    }
    before = [f.read_bytes() for f in files]
    assert [f.read_bytes() for f in write_report(record)] == before
    assert len(list(record.file.parent.iterdir())) == len(files)
    (bars,) = [f for f in draw(record) if "bars" in f.name]
    assert all(name in bars.read_text() for name in ("one", "two", "slow", "fast"))


def test_every_effect_follows_from_its_cause() -> None:
    def texts(**more: Any) -> str:
        return "; ".join(e.text for e in effects(layer(100, 10, **more), PROGRAM, MACHINE))

    plain = {"products": [product(64)], "schedule": {"rows": 7, "vectors": 2}}
    assert texts(**plain) == ""
    assert "empty lanes" in texts(products=[product(12)])
    assert "edge tiles" in texts(
        **plain | {"schedule": {"rows": 6, "vectors": 2}, "products": [product(64, positions=8)]}
    )
    assert "cannot hide the latency" in texts(**plain | {"schedule": {"rows": 1, "vectors": 1}})
    assert "sums of 16 products" in texts(products=[product(64, depth=16)])
    assert "depthwise" in texts(bound="memory", products=[product(64, depth=9, groups=64, kernel=3, positions=7840)])
    assert "weights come from" in texts(bound="memory", bytes=2_000_000, weight_bytes=1_900_000, products=[product(64)])
    assert "lines are read first" in texts(bound="memory", bytes=400_000)
    assert "Sigmoid" in texts(operators="Sigmoid", macs=0, shape=[[1, 200_000]])
    assert "starting the step" in "; ".join(e.text for e in effects(layer(1, 0.1), PROGRAM, MACHINE))
    two = Machine("m", "i", 2, 2e11, MACHINE.bandwidths)
    assert "3 tasks on 2 threads" in "; ".join(e.text for e in effects(layer(9, 3, tasks=3), PROGRAM, two))


def test_factors_are_stated_and_the_rest_is_admitted() -> None:
    near = layer(10, 9)
    assert explain(near, PROGRAM, MACHINE) == "" and share(near) == pytest.approx(0.9)
    lanes = explain(layer(22, 10, products=[product(4)], flops=0), PROGRAM, MACHINE)
    assert "(x2.00)" in lanes and "not explained" not in lanes
    far = explain(layer(100, 10, products=[product(4)], measured=False), PROGRAM, MACHINE)
    assert "not explained by shape or schedule (x" in far and "by prediction" in far
