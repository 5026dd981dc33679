"""A chain from pictures to a verified program, with the stock model beside it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from chain.conftest import Place
from edgesmith.cli.app import app
from edgesmith.device import load
from edgesmith.preprocess import Preprocess

pytestmark = [pytest.mark.torch, pytest.mark.toolchain]

STAGES = """
[budget]
macs = "60%"
accuracy_drop = 10

[[stage]]
method = "train"
epochs = 6

[[stage]]
method = "prune"
round_to = 4

[[stage]]
method = "finetune"
epochs = 1
teacher = 1

[[stage]]
method = "quantise"

[compare]
stock = ["model.py:small width=12"]
"""


def test_pictures_become_a_verified_program_and_a_report(place: Place) -> None:
    path = place.recipe(STAGES)
    planned = CliRunner().invoke(app, ["optimize", str(path), "--dry-run"])
    assert planned.exit_code == 0 and "to be done" in planned.stdout
    assert "beside it, trained for 7 epochs" in planned.stdout and "width=12" in planned.stdout
    plan = json.loads(CliRunner().invoke(app, ["optimize", str(path), "--dry-run", "--json"]).stdout)
    assert [stage["title"] for stage in plan] == ["1 train", "2 prune", "3 finetune", "4 quantise"]
    done = CliRunner().invoke(app, ["optimize", str(path), "--json"])
    assert done.exit_code in (0, 1), done.output
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    titles = [r["title"] for r in found["rows"]]
    assert titles[:4] == ["1 train", "2 prune", "3 finetune", "4 quantise"]
    assert titles[4] == "stock model.py:small width=12"
    trained, pruned, _, quantised, _ = found["rows"]
    assert pruned["macs"] < trained["macs"] and pruned["parameters"] < trained["parameters"]
    assert trained["accuracy"] > 80 and quantised["accuracy"] > 70
    assert quantised["size_kb"] < trained["size_kb"] and quantised["macs"] == pruned["macs"]
    artifact = load(found["artifact"])
    assert artifact.verification
    test = np.load(place.folder / "test.npz")
    from edgesmith.chain.data import Data
    from edgesmith.chain.recipe import load as load_recipe

    inputs = Data(load_recipe(path)).test_inputs
    right = sum(int(artifact(x[None]).argmax()) == y for x, y in zip(inputs, test["y"], strict=True))
    assert 100 * right / len(inputs) == pytest.approx(quantised["accuracy"])
    folder = place.folder / "recipe.optimized"
    for i, x in enumerate(inputs[:4]):
        picture = place.folder / f"{i}.png"
        Image.fromarray(test["x"][i]).save(picture)
        way = Preprocess.from_json(artifact.manifest["preprocess"])
        (kind,) = artifact.inputs.values()
        np.testing.assert_allclose(way.picture(picture, kind)[0], x, rtol=1e-5, atol=1e-5)
    labels = folder / "labels.txt"
    assert labels.read_text().split() == ["0", "1", "2", "3"]
    shown = CliRunner().invoke(app, ["run", found["artifact"], "--input", str(picture), "--labels", str(labels)])
    assert shown.exit_code == 0, shown.output
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 2 and "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
    text = (folder / "report.md").read_text()
    assert "## Beside the stock model" in text and "| 4 quantise |" in text
    again = CliRunner().invoke(app, ["optimize", str(path)])
    assert again.exit_code == done.exit_code and "begins" not in again.output
    assert json.loads((folder / "report.json").read_text())["rows"] == found["rows"]


def test_a_starter_recipe_is_written_once(place: Place) -> None:
    path = place.folder / "new.toml"
    assert CliRunner().invoke(app, ["optimize", "--init", str(path)]).exit_code == 0
    assert "[[stage]]" in path.read_text()
    again = CliRunner().invoke(app, ["optimize", "--init", str(path)])
    assert again.exit_code == 2 and "left alone" in again.output
