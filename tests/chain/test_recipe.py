"""Recipes: what is read, and what is said about those that are wrong."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.conftest import HEAD, Place
from edgesmith.chain.models import built
from edgesmith.chain.recipe import load, model_spec
from edgesmith.chain.stage import STAGES
from edgesmith.errors import BadInput, MissingDependency

pytestmark = pytest.mark.torch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "compression"
TRAIN = '\n[[stage]]\nmethod = "train"\nepochs = 2\n'
DISTIL = TRAIN + '\n[[stage]]\nmethod = "distil"\nteacher = 1\n'
PRUNE = "\n[budget]\nmacs = 1000\n" + TRAIN + '\n[[stage]]\nmethod = "prune"\n'


def line_of(path: Path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        (TRAIN + "epoch = 3\n", "epoch = 3", "did you mean 'epochs'"),
        (TRAIN.replace("epochs = 2", 'epochs = "two"'), 'epochs = "two"', "whole number"),
        (TRAIN.replace("train", "trian"), "trian", "did you mean 'train'"),
        (TRAIN + "lr = -1.0\n", "lr = -1.0", "must be above 0"),
        (TRAIN + "\n[budget]\nlatency = 3\n", "latency = 3", "did you mean 'latency_ms'"),
        (TRAIN + '\n[budget]\nlatency_ms = "fast"\n', 'latency_ms = "fast"', "50%"),
        (TRAIN + "\n[bugdet]\nmacs = 1\n", "[bugdet]", "did you mean 'budget'"),
        (TRAIN + '\n[target]\ntune = "always"\n', 'tune = "always"', "off, cached, full"),
        (TRAIN + '\n[[stage]]\nmethod = "quantise"\nto = "int9"\n', 'to = "int9"', "int8"),
        (TRAIN + '\n[[stage]]\nmethod = "distil"\n', "", "needs a teacher"),
        (TRAIN + '\n[[stage]]\nmethod = "finetune"\nteacher = 7\n', "", "no stage before"),
        (TRAIN + '\n[[stage]]\nmethod = "finetune"\nteacher = "zoo:resnet-18"\n', "", "has not learned"),
        ('\n[[stage]]\nmethod = "quantise"\n' + TRAIN, "", "cannot follow quantise"),
        (TRAIN + '\n[[stage]]\nmethod = "prune"\ntarget = "all"\n', 'target = "all"', "neither 'budget' nor a share"),
        (TRAIN + '\n[[stage]]\nmethod = "prune"\nsearch = "grid"\n', 'search = "grid"', "netadapt"),
        (TRAIN + '\n[[stage]]\nmethod = "factorise"\nby = "rank"\n', 'by = "rank"', "latency, energy, macs"),
        (TRAIN.replace("[[stage]]", "[stage]"), "[stage]", "two brackets"),
        (TRAIN + "\n[[target]]\nthreads = 1\n", "[[target]]", "one table"),
        (TRAIN + "\n[compare]\nstock = [1]\n", "stock = [1]", "an element of stock is 1, not text"),
        (DISTIL + 'losses = ["hints"]\n', "losses", "needs layers"),
        (DISTIL + "losses = []\n", "losses", "there is none"),
        (DISTIL + "temperature = 0.0\n", "", "not above 0"),
        (DISTIL + "hard = -1.0\n", "hard", "below 0"),
        (PRUNE + 'search = "netadapt"\nsettings = { savings = 1 }\n', "settings", "did you mean 'saving'"),
        (PRUNE + "settings = { saving = 1 }\n", "settings", "tries no candidates"),
        (PRUNE + 'search = "amc"\ntarget = 0.5\n', "search", "not by a share"),
        (PRUNE + 'search = "amc"\nworkers = 2\n', "workers", "no candidates that could(?s:.)*netadapt"),
        (PRUNE + "workers = 2\n", "workers", "'global' has no candidates"),
        (PRUNE + "workers = 0\n", "workers", "must be 1 or more"),
        (PRUNE + 'ignore = ["("]\n', "ignore", "no regular expression"),
        (TRAIN + '\n[[stage]]\nmethod = "quantise"\nobserver = "l4"\n', "observer", "did you mean 'l3'"),
        (TRAIN + '\n[[stage]]\nmethod = "quantise"\nrecovery = ["none"]\n', "recovery", "no recovery method"),
        (TRAIN + "\n[compare]\nepochs = -1\n", "epochs = -1", "below 0"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(place: Place, text: str, at: str, says: str) -> None:
    path = place.recipe(text)
    with pytest.raises(BadInput, match=says) as raised:
        load(path)
    assert raised.value.where.startswith("recipe.toml")
    if at:
        assert raised.value.where == f"recipe.toml, line {line_of(path, at)}"


def test_workers_need_ray(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install edgesmith\[ray\]"):
        load(place.recipe(PRUNE + 'search = "netadapt"\nworkers = 2\n'))


STOCK = '\n[compare]\nstock = ["model.py:small width=8"]\n'


@pytest.mark.parametrize(
    ("head", "text", "says"),
    [
        (HEAD, TRAIN + '\n[[stage]]\nmethod = "prune"\n', "no limit that stage 2 prune"),
        (HEAD, TRAIN + "if_needed = true\n[budget]\naccuracy_drop = 1\n", "no limit that stage 1 train"),
        (HEAD, '\n[[stage]]\nmethod = "quantise"\n' + STOCK, "no epochs are left"),
        (HEAD, TRAIN + '\n[[stage]]\nmethod = "qat"\n' + STOCK + "epochs = 3\n", "no epochs are left"),
        (HEAD.replace("width = 16", 'width = 16\ncheckpoint = "a.pt"'), TRAIN + STOCK, "for how many epochs"),
    ],
)
def test_parts_that_do_not_fit_together(place: Place, head: str, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load(place.recipe(text, head))


def test_the_second_of_equal_keys_is_found(place: Place) -> None:
    path = place.recipe(TRAIN + TRAIN.replace("epochs = 2", "epochs = 0"))
    with pytest.raises(BadInput, match="1 or more") as raised:
        load(path)
    assert raised.value.where == f"recipe.toml, line {line_of(path, 'epochs = 0')}"


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (HEAD.replace('network = "model.py:small"', 'network = "small"'), "neither zoo:NAME"),
        (HEAD.replace("validation = 0.2", "validation = 2"), "between 0 and 1"),
        (HEAD.replace('test = "test.npz"', ""), "needs 'test'"),
        (HEAD + 'augment = ["rotate"]', "none of flip"),
        (HEAD + "size = [12, 0]", "1 or more pixels"),
        (HEAD + "limit = -1", "below 0"),
        (HEAD + "channels = 2", "neither 1 nor 3"),
        (HEAD.replace('"train.npz"', '["train.npz"]'), "two IDX files"),
        (HEAD.replace("[data]", "[dta]"), "did you mean 'data'"),
        ("[model\n", "is no TOML"),
    ],
)
def test_heads_that_are_wrong(place: Place, head: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load(place.recipe(TRAIN, head))


def test_a_missing_recipe_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read") as raised:
        load(tmp_path / "nothing.toml")
    assert "--init" in raised.value.hint


def test_paths_start_at_the_recipe_and_know_the_environment(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = load(place.recipe(TRAIN))
    assert recipe.path("train.npz") == tmp_path / "train.npz"
    assert recipe.output == tmp_path / "recipe.optimized"
    monkeypatch.setenv("PICTURES", "/data")
    assert recipe.path("$PICTURES/x.npz") == Path("/data/x.npz")
    with pytest.raises(BadInput, match="NOT_THERE"):
        recipe.path("${NOT_THERE}/x.npz")


def test_models_in_one_line_take_the_options_that_they_do_not_name(place: Place) -> None:
    recipe = load(place.recipe(TRAIN))
    spec = model_spec("model.py:small width=4 name=text", recipe.model)
    assert spec.options == {"width": 4, "name": "text"}
    assert model_spec("zoo:mobilenet-v2 width=0.5 checkpoint=a.pt").checkpoint == "a.pt"
    with pytest.raises(BadInput, match="no key=value"):
        model_spec("zoo:mobilenet-v2 width")


def test_the_starter_recipe_is_one(tmp_path: Path) -> None:
    from importlib import resources

    path = tmp_path / "starter.toml"
    path.write_text((resources.files("edgesmith.chain") / "starter.toml").read_text())
    recipe = load(path)
    assert [s.method for s in recipe.stages] == ["train", "prune", "finetune", "quantise"]
    assert recipe.precision == "int8"


@pytest.mark.parametrize("recipe", sorted((Path(__file__).parents[2] / "examples" / "compression").glob("*.toml")))
def test_the_example_recipes_are_recipes(recipe: Path) -> None:
    assert load(recipe).stages


def test_parameters_of_stages_are_plain_data() -> None:
    import json

    for kind in STAGES.values():
        required: dict[str, Any] = {"teacher": 0} if kind.method == "distil" else {}
        assert json.dumps(kind(**required).parameters)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda p: p.stem)
def test_recipes_of_the_examples_are_read_and_their_networks_built(path: Path) -> None:
    recipe = load(path)
    assert recipe.stages and recipe.budget.has_costs
    spec = replace(recipe.model, checkpoint="")
    module = built(spec, recipe.path, classes=10, size=(1, 28, 28), seed=0)
    assert sum(p.numel() for p in module.parameters()) > 1000
