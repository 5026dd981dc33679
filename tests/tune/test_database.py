"""The tuning database: merging, exchange, damage, and a program that is killed while it writes."""

from __future__ import annotations

import json
import lzma
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesmith.errors import BadInput
from edgesmith.tune import Database, Record

from .networks import HERE

OTHER = replace(HERE, compiler="compiler 2")
FEATURES = {"p": {"macs": 10.0, "operator": "Conv"}, "q": {"macs": 20.0, "operator": "Gemm"}}


def record(
    problem: str = "p", schedule: int = 1, least: float = 100.0, code: str = "c", kernel: str = "gemm"
) -> Record:
    return Record(
        problem, kernel, json.dumps({"rows": schedule}, separators=(",", ":")), code, 90.0, least, least, 0.1, 5
    )


def contents(database: Database) -> list[object]:
    return [(e, list(database.records(e))) for e, _, _ in database.environments()]


def test_of_two_measurements_of_the_same_code_the_shorter_stays() -> None:
    with Database() as database:
        database.insert(HERE, FEATURES, [record(least=100), record(schedule=2, least=50), record(code="d", least=70)])
        database.insert(HERE, FEATURES, [record(least=120), record(schedule=2, least=40)])
        assert sorted(r.least_ns for r in database.records(HERE)) == [40, 70, 100]
        assert list(database.records(OTHER)) == []
        assert database.features() == FEATURES


@given(st.lists(st.tuples(st.sampled_from("pq"), st.integers(1, 3), st.floats(1, 1e6)), max_size=12), st.randoms())
def test_records_merge_in_any_order(rows: list[tuple[str, int, float]], random: object) -> None:
    records = [record(p, s, t) for p, s, t in rows]
    mixed = list(records)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    with Database() as one, Database() as other:
        one.insert(HERE, FEATURES, records)
        for r in mixed + mixed:
            other.insert(HERE, {r.problem: FEATURES[r.problem]}, [r])
        assert list(one.records(HERE)) == list(other.records(HERE))


@pytest.mark.parametrize("name", ["times.jsonl", "times.jsonl.xz"])
def test_export_and_import(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with Database() as one, Database(tmp_path / "db") as other:
        one.insert(HERE, FEATURES, [record(), record(schedule=2, least=50), record("q")])
        one.insert(OTHER, FEATURES, [record(least=7)])
        assert one.export(path) == 4
        assert other.load(path) == other.load(path) == 4
        assert contents(other) == contents(one)
        assert one.export(path, best=1) == 3
        assert one.export(path, best=1, environments=[OTHER]) == 1
    with Database() as third:
        assert third.load(path, lambda e: e == HERE) == 0
        assert third.load(path) == 1


def test_prune_keeps_the_fastest(tmp_path: Path) -> None:
    with Database(tmp_path / "db") as database:
        database.insert(HERE, FEATURES, [record(schedule=s, least=100 - s) for s in range(6)])
        database.insert(OTHER, FEATURES, [record("q")])
        assert database.prune(2) == 4
        assert sorted(r.least_ns for r in database.records(HERE)) == [95, 96]
        assert database.prune(2, [HERE]) == 1
        assert [e for e, _, _ in database.environments()] == [HERE]
        assert set(database.features()) == {"p"}
        assert database.prune(2, [HERE]) == 0


LINE = {"environment": json.loads(HERE.to_json()), "problem": "p", "features": {}, "times": []}
ROW = ["gemm", '{"rows":1}', "c", 90.0, 100.0, 100.0, 0.1, 5]


def _lines(*times: object, **changed: object) -> bytes:
    head = {"format": "edgesmith-times-1"}
    return "\n".join(
        map(json.dumps, (head, {**LINE, "times": [ROW]}, {**LINE, "times": list(times), **changed}))
    ).encode()


HOSTILE = {
    "empty": b"",
    "bytes": bytes(range(256)) * 9,
    "text": b"hello\n",
    "number": b"17\n",
    "list": b"[]\n",
    "other format": b'{"format": "other"}\n',
    "deep": b"[" * 100_000,
    "cut": _lines(ROW)[:-20],
    "short row": _lines(ROW[:5]),
    "long row": _lines([*ROW, 1]),
    "rows no list": _lines(times=5),
    "negative": _lines([*ROW[:4], -1.0, *ROW[5:]]),
    "zero": _lines([*ROW[:4], 0.0, *ROW[5:]]),
    "not a number": _lines([*ROW[:4], float("nan"), *ROW[5:]]),
    "infinite": _lines([*ROW[:3], float("inf"), *ROW[4:]]),
    "text for a time": _lines([*ROW[:4], "fast", *ROW[5:]]),
    "schedule no object": _lines([ROW[0], "[1]", *ROW[2:]]),
    "schedule no json": _lines([ROW[0], "rows", *ROW[2:]]),
    "schedule of text": _lines([ROW[0], '{"rows":"x"}', *ROW[2:]]),
    "features no object": _lines(ROW, features=3),
    "features of lists": _lines(ROW, features={"macs": [1]}),
    "no processor": _lines(ROW, environment={"target": "t", "compiler": "c"}),
    "odd processor": _lines(ROW, environment={"processor": {"speed": 1}, "target": "t", "compiler": "c"}),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("suffix", [".jsonl", ".xz"])
def test_a_foreign_file_is_explained_and_changes_nothing(tmp_path: Path, text: bytes, suffix: str) -> None:
    path = tmp_path / f"times{suffix}"
    path.write_bytes(lzma.compress(text) if suffix == ".xz" else text)
    with Database() as database:
        database.insert(HERE, FEATURES, [record()])
        before = contents(database)
        with pytest.raises(BadInput, match="not exported tuning records") as error:
            database.load(path)
        assert str(path) in str(error.value) and "tuning export" in str(error.value)
        assert contents(database) == before


def test_a_truncated_archive_and_an_absent_file(tmp_path: Path) -> None:
    path = tmp_path / "times.xz"
    path.write_bytes(lzma.compress(_lines(ROW))[:-30])
    with Database() as database:
        with pytest.raises(BadInput):
            database.load(path)
        with pytest.raises(OSError):
            database.load(tmp_path / "absent.jsonl")
        assert contents(database) == []


@pytest.mark.parametrize("text", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_database_is_explained_and_left_alone(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "db"
    path.write_bytes(text)
    with pytest.raises(BadInput, match="cannot be used") as error:
        Database(path)
    assert str(path) in str(error.value) and "EDGESMITH_TUNING_DB" in str(error.value)
    assert path.read_bytes() == text


def test_a_database_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 99")
    with pytest.raises(BadInput, match="format 99"):
        Database(path)


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from edgesmith.tune import Database
from {package}.networks import HERE
from {package}.test_database import FEATURES, record
with Database(Path(sys.argv[1])) as database:
    for i in range(1_000_000):
        database.insert(HERE, FEATURES, [record(schedule=i), record("q", schedule=i)])
        print(i, flush=True)
"""


def test_killing_a_writer_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    for count in (1, 40):
        program = WRITER.format(path=sys.path, package=__package__)
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(count):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            told = count + len([line for line in writer.stdout.read().split("\n") if line])
        with sqlite3.connect(path) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with Database(path) as database:
            rows = {p: {r.schedule for r in database.records(HERE) if r.problem == p} for p in "pq"}
            assert rows["p"] == rows["q"], "a transaction is kept whole or not at all"
            assert told <= len(rows["p"]) + 1
