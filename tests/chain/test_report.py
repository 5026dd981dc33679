"""The report: what it says about stages, budget and stock model, with and without matplotlib."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgesmith.chain.budget import Budget
from edgesmith.chain.metrics import Metrics
from edgesmith.chain.pictures import _is_near
from edgesmith.chain.report import comparison, markdown, page, write
from edgesmith.chain.result import Result, Row, Verdict
from edgesmith.preprocess import Preprocess

pytestmark = pytest.mark.torch


def row(title: str, accuracy: float, ms: float, kind: str = "stage", notes: tuple[str, ...] = ()) -> Row:
    return Row(kind, title, Metrics(accuracy, ms, "measured on this machine", 1000 * ms, int(1e7 * ms), 100_000), notes)


def result(stock: bool = True) -> Result:
    rows = [row("1 train", 93.8, 0.4), row("2 prune", 60.0, 0.2, notes=("at 98 % <of> the budget",))]
    rows += [row("3 finetune", 93.4, 0.2), row("4 quantise", 93.2, 0.1)]
    rows += [row("stock zoo:mobilenet-v2 width=0.5", 92.0, 0.11, "stock")] if stock else []
    budget = Budget(latency_ms="30%", accuracy_drop=0.5)
    recipe: Any = SimpleNamespace(
        name="small",
        model=SimpleNamespace(label="zoo:x"),
        target=SimpleNamespace(name="native", threads=1),
        budget=budget,
    )
    verdicts = (Verdict(True, "latency_ms: within"), Verdict(False, "accuracy: 0.10 too many"))
    artifact: Any = SimpleNamespace(path=Path("out/artifact"))
    return Result(recipe, tuple(rows), 0, verdicts, ("5 factorise: the budget is met",), artifact)


def test_the_table_has_shares_of_the_trained_network() -> None:
    text = markdown(result())
    assert "| 4 quantise | 93.20 % (-0.60) | 0.100 ms (25%) | 100.0 kB (25%) | 1.00 M (25%) | 100 k |" in text
    assert "- MISSED: accuracy: 0.10 too many" in text and "- met: latency_ms: within" in text
    assert "5 factorise: the budget is met" in text


def test_how_pictures_become_inputs_is_said() -> None:
    way = Preprocess((32, 48), "crop", 1 / 255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.25), layout="nchw")
    made = replace(result(), preprocess=way)
    text = markdown(made)
    assert "32x48 with the middle cut out" in text
    assert "red, green, blue: mean 0.5, 0.4, 0.3; std 0.2, 0.2, 0.25" in text
    assert "`edgesmith run out/artifact --input picture.jpg --labels out/labels.txt`" in text
    assert made.to_json()["preprocess"] == way.to_json()
    assert "<code>edgesmith run out/artifact" in page(made)
    assert "Inputs are arrays" in markdown(result())
    made.recipe.target.name = "stm32f746"
    assert "edgesmith run" not in markdown(made) and "before it calls the library" in markdown(made)


def test_names_of_neighbouring_stages_do_not_lie_on_each_other() -> None:
    assert _is_near((8.1, 89.97), [(14.8, 90.6), (8.8, 88.6), (8.8, 90.02)])
    assert not _is_near((8.8, 90.02), [(14.8, 90.6), (8.8, 88.6)]) and not _is_near((8.8, 90.0), [])


def test_other_work_beside_the_measurement_is_told() -> None:
    assert "other programs" not in markdown(result()) + markdown(replace(result(), other_work=0.02))
    busy = replace(result(), other_work=0.48)
    told = "while other programs took 48% of the processors"
    assert told in markdown(busy) and told in page(busy)
    assert busy.to_json()["other_work"] == 0.48


def test_the_pareto_front_is_marked() -> None:
    made = result()
    assert [r.title for r in made.front] == ["1 train", "3 finetune", "4 quantise"]
    assert "Pareto front" in markdown(made) and ": 1 train, 3 finetune, 4 quantise." in markdown(made)
    assert made.to_json()["front"] == ["1 train", "3 finetune", "4 quantise"]
    rows = [row("1 train", 93.0, 0.4), row("2 prune", 93.0, 0.3), row("3 qat", 93.0, 0.3), row("stock x", 95.0, 0.35)]
    tied = replace(made, rows=(*rows[:3], replace(rows[3], kind="stock")))
    assert [r.title for r in tied.front] == ["2 prune", "3 qat", "stock x"]
    text = page(tied)
    assert ">2 prune *<" in text and ">stock x *<" in text and ">1 train<" in text


def test_a_stock_model_of_another_speed_is_told() -> None:
    made = result()
    assert "far apart" not in comparison(made)
    for ms, advice in ((0.05, "wider"), (0.2, "narrower")):
        other = replace(made.rows[-1], metrics=replace(made.rows[-1].metrics, latency_ms=ms))
        assert f"name {advice} stock models" in comparison(replace(made, rows=(*made.rows[:-1], other)))


def test_the_budget_stands_above_the_pictures() -> None:
    text = page(result())
    assert text.index("<h2>Budget") < text.index("<svg")


def test_times_of_models_are_not_said_to_be_taken_in_turns() -> None:
    made = result()
    assert "times measured on this machine, all programs in turns." in markdown(made)
    modelled = tuple(replace(r, metrics=replace(r.metrics, latency_source="of a model of X")) for r in made.rows)
    assert "times of a model of X.\n" in markdown(replace(made, rows=modelled))


def test_short_times_have_three_digits() -> None:
    made = result()
    short = replace(made.rows[1], metrics=replace(made.rows[1].metrics, latency_ms=0.00165))
    assert "| 0.00165 ms (0%) |" in markdown(replace(made, rows=(made.rows[0], short)))


def test_the_comparison_says_who_is_faster_and_better() -> None:
    said = comparison(result())
    assert "9.1% faster and 1.20 points more accurate than the stock model (zoo:mobilenet-v2 width=0.5)" in said
    assert comparison(result(stock=False)) == ""


def test_the_comparison_says_where_the_epochs_differ() -> None:
    made = result()
    own, other = replace(made.stages[-1], epochs=33), replace(made.rows[-1], epochs=20)
    said = comparison(replace(made, rows=(*made.rows[:3], own, other)))
    assert "trained for 20 epochs (the stages of the recipe took 33)" in said
    alike = comparison(replace(made, rows=(*made.rows[:3], own, replace(other, epochs=33))))
    assert "trained for as many epochs" in alike


def test_the_page_is_one_file_with_pictures() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'report')")
    text = page(result())
    assert text.count("<svg") == 2 and "<script" not in text and 'src="' not in text and "@import" not in text
    assert "&lt;of&gt; the budget" in text
    assert "2 prune: 60.0 %, below the picture" in text
    assert page(result()) == text
    assert page(result(stock=False)).count("Beside the stock model") == 0


def test_without_matplotlib_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    files = write(result(), tmp_path)
    assert [f.name for f in files] == ["report.md", "report.json"]
    data = json.loads((tmp_path / "report.json").read_text())
    assert [r["title"] for r in data["rows"]][-1].startswith("stock")
