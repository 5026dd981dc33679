"""The chain: cached by content, resumed between and within stages, honest about the budget."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

from chain.conftest import HEAD, MODEL, Place
from edgesmith.chain import learning
from edgesmith.chain import run as running
from edgesmith.chain.channels import NetworkChannels
from edgesmith.chain.compare import _stages
from edgesmith.chain.measuring import Figures
from edgesmith.chain.metrics import Metrics
from edgesmith.chain.recipe import TargetSpec, load
from edgesmith.chain.result import _guessing, _verdicts
from edgesmith.chain.run import Chain, Point
from edgesmith.chain.stages import prune as pruning
from edgesmith.chain.stages.prune import vector_channels
from edgesmith.chain.store import Store
from edgesmith.cli.app import app
from edgesmith.compress.training import Callback, RunState
from edgesmith.errors import BadInput, BudgetMissed
from edgesmith.target import parse
from edgesmith.zoo.torch import module as zoo_module

pytestmark = pytest.mark.torch

TRAIN = '\n[[stage]]\nmethod = "train"\nepochs = 2\n'
TWO = TRAIN + '\n[[stage]]\nmethod = "finetune"\nepochs = 2\nteacher = 1\n'


NO_MODELS = """
def small(**_):
    return 3

def fails(**_):
    raise TypeError("no")
"""


class FakeBench:
    """Knows programs by their models' bytes: no compiler, no clock."""

    def __init__(self, target: TargetSpec, progress: Any) -> None:
        self.target = target

    def compiled(self, model: Path, output: Path, *, verify: bool = False) -> Any:
        size = sum(len(t.raw_data) for t in onnx.load(model).graph.initializer)
        return SimpleNamespace(manifest={"build": str(size), "lock": ""}, path=output, size=size)

    def figures(self, artifact: Any, model: Path, data: Any) -> Figures:
        return Figures(90.0, artifact.size / 1000, artifact.size)

    def milliseconds(self, programs: Mapping[str, Any]) -> dict[str, float]:
        return {name: program.size / 1e4 for name, (program, _) in programs.items()}

    def metrics(self, figures: Figures, milliseconds: float, parameters: int) -> Metrics:
        return Metrics(figures.accuracy, milliseconds, "of a fake", figures.size_kb, figures.macs, parameters)


@dataclass
class Run:
    points: list[Point]
    said: list[str]
    skipped: list[str]

    @property
    def cached(self) -> list[bool]:
        return [p.cached for p in self.points]


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(running, "Bench", FakeBench)

    def run(path: Path) -> Run:
        said: list[str] = []
        chain = Chain(load(path), lambda *_: None, said.append, shown=False)
        return Run(chain.run(), said, chain.skipped)

    return run


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Ctrl-C at the ends of trainings' epochs whose numbers (over all trainings) are in the list."""
    at: list[int] = []
    seen = [0]
    original = learning.fit

    class Stopping(Callback):
        def on_epoch(self, run: RunState) -> None:
            seen[0] += 1
            if seen[0] in at:
                os.kill(os.getpid(), signal.SIGINT)

    def fit(*args: Any, **named: Any) -> Any:
        return original(*args, **{**named, "callbacks": [*named.get("callbacks", ()), Stopping()]})

    monkeypatch.setattr(learning, "fit", fit)
    yield at


def state(point: Point) -> bytes:
    return b"".join(v.numpy().tobytes() for _, v in sorted(_tensors(point).items()))


def _tensors(point: Point) -> dict[str, Any]:
    import torch

    return dict(torch.load(point.folder / "state.pt", weights_only=True))


def test_finished_stages_are_not_done_again(place: Place, faked: Any) -> None:
    path = place.recipe(TWO)
    first = faked(path)
    assert first.cached == [False] * 3
    again = faked(path)
    assert again.cached == [True] * 3
    assert [p.folder for p in again.points] == [p.folder for p in first.points]
    assert not any("begins" in line for line in again.said)


def test_a_change_repeats_what_depends_on_it(place: Place, faked: Any) -> None:
    faked(place.recipe(TWO))
    later = faked(place.recipe(TWO.replace("teacher = 1", "teacher = 1\ntemperature = 2.0")))
    assert later.cached == [True, True, False]
    earlier = faked(place.recipe(TWO.replace("epochs = 2", "epochs = 3", 1)))
    assert earlier.cached == [True, False, False]
    (place.folder / "model.py").write_text((place.folder / "model.py").read_text() + "\n# another\n")
    assert faked(place.recipe(TWO)).cached == [False] * 3


def test_a_change_in_an_imported_neighbour_repeats_the_stages(place: Place, faked: Any) -> None:
    (place.folder / "parts_of_it").mkdir()
    neighbour = place.folder / "parts_of_it" / "layers.py"
    neighbour.write_text("WIDTH = 1\n")
    (place.folder / "parts_of_it" / "__init__.py").write_text("")
    (place.folder / "unrelated.py").write_text("")
    own = place.folder / "model.py"
    own.write_text("def unused():\n    from parts_of_it import layers\n\nimport os.path\n" + own.read_text())
    assert faked(place.recipe(TRAIN)).cached == [False, False]
    (place.folder / "unrelated.py").write_text("# changed\n")
    assert faked(place.recipe(TRAIN)).cached == [True, True]
    neighbour.write_text("WIDTH = 2\n")
    assert faked(place.recipe(TRAIN)).cached == [False, False]


def test_normalisation_of_a_checkpoint(place: Place, faked: Any) -> None:
    import numpy as np

    faked(place.recipe(TRAIN))
    assert faked(place.recipe(TRAIN, HEAD + "mean = [0.25]\nstd = [0.5]\n")).cached == [False, False]
    data = Chain(load(place.folder / "recipe.toml"), *[lambda *_: None] * 2).data
    pixels = np.load(place.folder / "test.npz")["x"]
    np.testing.assert_allclose(data.test_inputs[:, 0], (pixels / 255 - 0.25) / 0.5, rtol=1e-6, atol=1e-6)
    way = data.preprocess
    assert way and (way.mean, way.std) == ((0.25,), (0.5,))


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("mean = [0.5]", "and std need one another"),
        ("mean = [0.5]\nstd = [0.0]", "must be above 0"),
        ("mean = [inf]\nstd = [1.0]", "must be finite"),
        ("mean = [0.1, 0.2, 0.3]\nstd = [1.0, 1.0, 1.0]", "3 numbers, for pictures of 1 channel$"),
    ],
)
def test_normalisation_that_is_none(place: Place, faked: Any, keys: str, why: str) -> None:
    with pytest.raises(BadInput) as caught:
        faked(place.recipe(TRAIN, f"{HEAD}{keys}\n"))
    assert re.search(why, caught.value.why)
    assert not (place.folder / "recipe.optimized").exists()


def test_other_pictures_are_other_stages(place: Place, faked: Any) -> None:
    import numpy as np

    from chain.conftest import bars

    faked(place.recipe(TRAIN))
    np.savez(place.folder / "train.npz", **bars(320, 7))
    assert faked(place.recipe(TRAIN)).cached == [False, False]


def test_other_test_pictures_repeat_no_stage(place: Place, faked: Any) -> None:
    faked(place.recipe(TRAIN))
    head = (place.folder / "recipe.toml").read_text().partition("[[stage]]")[0] + "test_limit = 8\n"
    assert faked(place.recipe(TRAIN, head)).cached == [True, True]
    chain = Chain(load(place.recipe(TRAIN, head)), lambda *_: None, lambda _: None)
    assert len(chain.data.test_labels) == 8
    assert chain.data.test_digest != Chain(load(place.recipe(TRAIN)), *[lambda *_: None] * 2).data.test_digest


def test_pictures_of_other_classes_are_refused_before_training(place: Place, faked: Any) -> None:
    import numpy as np

    arrays = dict(np.load(place.folder / "test.npz"))
    np.savez(place.folder / "test.npz", x=arrays["x"], y=arrays["y"] + 1)
    with pytest.raises(BadInput, match="label 4 is none of 0 to 3"):
        faked(place.recipe(TRAIN))
    assert not (place.folder / "recipe.optimized").exists()


def test_classes_of_folders_are_those_of_the_training_pictures(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    for part, names in (("train", "abc"), ("test", "ac")):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(tmp_path / part / name / f"{i}.png")
    path = tmp_path / "recipe.toml"
    data = '[data]\ntrain = "train"\ntest = "test"\nsize = [8, 8]\nvalidation = 0.25\n'
    path.write_text('[model]\nnetwork = "zoo:lenet-5"\n' + data + TRAIN)
    chain = Chain(load(path), lambda *_: None, lambda _: None)
    assert chain.data.test_labels.tolist() == [0] * 4 + [2] * 4


@pytest.mark.parametrize("count", [1, 3, 32, 255])
def test_as_many_pictures_calibrate_as_are_asked_for(place: Place, count: int) -> None:
    path = place.recipe(TRAIN)
    path.write_text(path.read_text().replace("calibration = 32", f"calibration = {count}"))
    data = Chain(load(path), lambda *_: None, lambda _: None).data
    assert len(data.calibration) == count
    labels = [int(label) for _, y in data.labelled_batches for label in y]
    assert max(labels.count(i) for i in range(4)) - min(labels.count(i) for i in range(4)) <= 1


def test_what_decides_a_pruned_network_repeats_it(place: Place) -> None:
    def folders(text: str) -> list[str]:
        chain = Chain(load(place.recipe(text)), lambda *_: None, lambda _: None)
        return [p.folder.name for p in chain.plan()][:2]

    chain = PRUNE + '\n[[stage]]\nmethod = "quantise"\n'
    before = folders(chain)
    assert folders(chain.replace("[budget]", "[budget]\naccuracy_drop = 1")) == before
    for other in (
        chain.replace("300_000", "310_000"),
        chain + "recovery = []\n",
        chain.replace("quantise", "qat"),
        chain + '\n[target]\nname = "portable"\n',
    ):
        now = folders(other)
        assert now[0] == before[0] and now[1] != before[1]
    by = '\n[[stage]]\nmethod = "factorise"\nby = "{}"\n'
    target = '\n[target]\nname = "portable"\n'
    assert folders(TRAIN + by.format("latency")) != folders(TRAIN + by.format("latency") + target)
    assert folders(TRAIN + by.format("energy")) == folders(TRAIN + by.format("energy") + target)


def test_ctrl_c_within_a_stage_loses_no_epoch(place: Place, faked: Any, interrupted: list[int]) -> None:
    undisturbed = faked(place.recipe(TWO, name="undisturbed.toml"))
    path = place.recipe(TWO)
    interrupted.append(7)  # the first of the second stage's two epochs, after four of the run above
    with pytest.raises(KeyboardInterrupt):
        faked(path)
    stages = place.folder / "recipe.optimized" / "stages"
    assert [p.name[:3] for p in sorted(stages.iterdir()) if p.suffix == ".part"] == ["02-"]
    plan = Chain(load(path), lambda *_: None, lambda _: None).plan()
    assert [p.state for p in plan] == ["cached", "begun"]
    resumed = faked(path)
    assert resumed.cached == [True, True, False]
    assert "2 finetune: goes on" in resumed.said
    assert state(resumed.points[-1]) == state(undisturbed.points[-1])
    assert not list(stages.glob("*.part"))


def test_a_stage_that_was_killed_while_it_was_written_is_not_trained_again(
    place: Place, faked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.recipe(TWO)
    trained: list[Any] = []

    def fit(*args: Any, **named: Any) -> Any:
        steps = Counted()
        trained.append(steps)
        return learned(*args, **{**named, "callbacks": [*named.get("callbacks", ()), steps]})

    class Counted(Callback):
        count = 0

        def on_step(self, run: RunState) -> None:
            self.count += 1

    learned = learning.fit
    monkeypatch.setattr(learning, "fit", fit)

    def killed(self: Chain, *args: Any) -> Any:
        if args[3] and args[3].method == "finetune":
            raise SystemExit
        return original(self, *args)

    original = Chain._written
    monkeypatch.setattr(Chain, "_written", killed)
    with pytest.raises(SystemExit):
        faked(path)
    monkeypatch.setattr(Chain, "_written", original)
    done = faked(path)
    assert done.cached == [True, True, False]
    assert [steps.count > 0 for steps in trained] == [True, True, False]
    assert not list(done.points[-1].folder.rglob("checkpoint.pt"))


def test_two_processes_do_not_work_in_one_folder(place: Place, faked: Any) -> None:
    path = place.recipe(TRAIN)
    with Store(load(path).output).alone(), pytest.raises(BadInput, match="another process"):
        faked(path)
    assert faked(path).cached == [False, False]


def test_a_damaged_record_counts_as_not_finished(place: Place, faked: Any) -> None:
    path = place.recipe(TRAIN)
    point = faked(path).points[-1]
    (point.folder / "stage.json").write_text('{"method"')
    assert faked(path).cached == [True, False]


def test_stages_that_are_not_needed_are_left_out(place: Place, faked: Any) -> None:
    more = TWO + "if_needed = true\n"
    within = faked(place.recipe(more + "\n[budget]\nsize_kb = 1000\n"))
    assert len(within.points) == 2 and within.skipped == ["2 finetune: the budget is met"]
    beyond = faked(place.recipe(more + "\n[budget]\nsize_kb = 1\n"))
    assert len(beyond.points) == 3


SKIPPED = """
[budget]
size_kb = 1000

[[stage]]
method = "train"
epochs = 1

[[stage]]
method = "finetune"
epochs = 1
if_needed = true

[[stage]]
method = "prune"
target = 0.6
round_to = 2

[[stage]]
method = "finetune"
epochs = 1
teacher = 2
"""


def test_stages_keep_their_numbers_where_one_was_left_out(place: Place, faked: Any) -> None:
    """The teacher, and what shares and losses refer to, are those of the recipe's numbers."""
    path = place.recipe(SKIPPED)
    assert [p.index for p in faked(path).points] == [0, 1, 3, 4]
    chain = Chain(load(path), lambda *_: None, lambda _: None, shown=False)
    points = chain.run()
    work = chain._work(place.folder, points)
    assert work.before[work.first].title == "1 train"
    assert work.after(2).title == "1 train" and work.after(3).title == "3 prune"


def test_the_stock_model_is_quantised_as_the_outcome_is(place: Place) -> None:
    last = '\n[[stage]]\nmethod = "quantise"\nif_needed = true\n'
    recipe = load(place.recipe("\n[budget]\nsize_kb = 1\n" + TRAIN + last))
    stages = _stages(recipe, 2)
    assert [s.method for s in stages] == ["train", "quantise"]
    assert not any(s.if_needed for s in stages)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('\n[compare]\nstock = ["model.py:none"]\n', "no function 'none'"),
        ('\n[compare]\nstock = ["model.py:small depth=3"]\n', "unexpected keyword argument 'depth'"),
        ('\n[[stage]]\nmethod = "distil"\nteacher = "model.py:small checkpoint=no.pt"\n', "no.pt"),
    ],
)
def test_models_that_cannot_be_had_are_refused_before_training(place: Place, faked: Any, text: str, says: str) -> None:
    path = place.recipe(TRAIN + text)
    with pytest.raises(BadInput, match=says):
        faked(path)
    with pytest.raises(BadInput, match=says):
        Chain(load(path), lambda *_: None, lambda _: None).plan()
    assert not (place.folder / "recipe.optimized").exists()


def test_a_missed_budget_names_the_stage_that_fell_short(place: Place) -> None:
    budget = "\n[budget]\nlatency_ms = 1.0\naccuracy_drop = 0.5\n"
    recipe = load(place.recipe(TRAIN + budget))

    def row(title: str, accuracy: float, ms: float) -> Any:
        return SimpleNamespace(title=title, metrics=Metrics(accuracy, ms, "here", 10.0, 100, 10))

    rows = [row("1 train", 92.0, 2.0), row("2 prune", 90.0, 1.2), row("3 quantise", 89.8, 1.1)]
    latency, accuracy = _verdicts(recipe, rows, 0)
    assert not latency.met and "10.0% above" in latency.text and "2 prune fell short by 0.1 ms" in latency.text
    assert not accuracy.met and "1.70 too many" in accuracy.text and "stage 2 prune (2.00)" in accuracy.text
    rows[1:] = [row("2 quantise", 92.0, 2.0)]
    assert _verdicts(recipe, rows, 0)[0].text.endswith("no stage takes any of it away")
    rows[-1] = row("3 quantise", 91.9, 0.9)
    assert all(v.met for v in _verdicts(recipe, rows, 0))
    rows[-1] = row("3 quantise", 93.0, 0.9)
    assert _verdicts(recipe, rows, 0)[1].text == "accuracy: 1.00 points gained, 0.5 may be lost"


@pytest.mark.parametrize(("accuracy", "says"), [(12.0, True), (16.0, False)])
def test_a_network_that_only_guesses_is_told(accuracy: float, says: bool) -> None:
    point: Any = SimpleNamespace(metrics=Metrics(accuracy, 1.0, "here", 10.0, 100, 10))
    other: Any = SimpleNamespace(metrics=point.metrics)
    assert bool(_guessing(point, point, 10)) == says and not _guessing(other, point, 10)
    if says:
        assert "10.00 %" in _guessing(point, point, 10)[0]


def test_a_model_that_is_none_is_refused(place: Place, faked: Any) -> None:
    (place.folder / "model.py").write_text(
        "def small(**_):\n    return 3\n\ndef fails(**_):\n    raise TypeError('no')\n"
    )
    with pytest.raises(BadInput, match=r"no torch\.nn\.Module"):
        faked(place.recipe(TRAIN))
    head = (place.folder / "recipe.toml").read_text().partition("[[stage]]")[0]
    with pytest.raises(BadInput, match="TypeError: no"):
        faked(place.recipe(TRAIN, head.replace("small", "fails")))
    with pytest.raises(BadInput, match="it has: small, fails"):
        faked(place.recipe(TRAIN, head.replace("small", "large")))


OTHERS = """
from torch import nn
from neighbour import Body

class Wrong(Body):
    def forward(self, x):
        return self.missing(x)

class Several(Body):
    def forward(self, x):
        y = super().forward(x)
        return {"logits": y, "more": (y, y)}

class Maps(Body):
    def forward(self, x):
        return self.body[:-2](x)
"""
NEIGHBOUR = """
from model import small
from torch import nn

class Body(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.body = small(**options)

    def forward(self, x):
        return self.body(x)
"""


@pytest.fixture
def others(place: Place) -> Iterator[Path]:
    (place.folder / "others.py").write_text(OTHERS)
    (place.folder / "neighbour.py").write_text(NEIGHBOUR)
    modules = set(sys.modules)
    yield place.recipe(TRAIN)
    sys.path[:] = [p for p in sys.path if p != str(place.folder.resolve())]
    for name in set(sys.modules) - modules:
        if name in ("neighbour", "model"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("others.py:Wrong", r"its forward fails: AttributeError: .*'missing' \(others\.py, line 7\)"),
        ("others.py:Maps", r"gives \(1, 32, 1, 1\) for one picture"),
        ("model.py:small classes=3", "tells 3 classes apart, but the training pictures are of 4"),
    ],
)
def test_models_that_do_not_fit_the_pictures_are_refused_before_training(
    place: Place, others: Path, faked: Any, model: str, says: str
) -> None:
    path = place.recipe(TRAIN + f'\n[compare]\nstock = ["{model}"]\n')
    with pytest.raises(BadInput, match=says):
        Chain(load(path), lambda *_: None, lambda _: None).plan()
    with pytest.raises(BadInput, match=says):
        faked(path)
    assert not (place.folder / "recipe.optimized").exists()


def test_a_teacher_of_other_classes_is_refused_before_training(place: Place, faked: Any) -> None:
    path = place.recipe(TRAIN + '\n[[stage]]\nmethod = "distil"\nteacher = "model.py:small classes=7"\n')
    with pytest.raises(BadInput, match="the teacher tells 7 classes apart, the network that it teaches 4"):
        faked(path)


def test_the_first_of_several_outputs_is_that_of_the_classes(place: Place, others: Path, faked: Any) -> None:
    """And a network's file may import its neighbours."""
    head = others.read_text().partition("[[stage]]")[0].replace("model.py:small", "others.py:Several")
    path = place.recipe(TRAIN + '\n[[stage]]\nmethod = "prune"\ntarget = 0.6\nround_to = 2\n', head)
    assert [p.index for p in faked(path).points] == [0, 1, 2]


def test_a_file_of_networks_is_executed_once(place: Place, faked: Any) -> None:
    counting = "import os\nos.environ['EXECUTED'] = os.environ.get('EXECUTED', '') + 'x'\n"
    file = place.folder / "model.py"
    file.write_text(counting + file.read_text())
    path = place.recipe(TRAIN + '\n[compare]\nstock = ["model.py:small width=8"]\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXECUTED", "")
        Chain(load(path), lambda *_: None, lambda _: None).plan()
        assert os.environ["EXECUTED"] == "x"
        file.write_text(file.read_text() + "\n")
        Chain(load(path), lambda *_: None, lambda _: None).plan()
        assert os.environ["EXECUTED"] == "xx"


def test_folders_that_are_not_there_are_said_to_be_so(place: Place, faked: Any) -> None:
    head = place.recipe(TRAIN).read_text().partition("[[stage]]")[0].replace("train.npz", "nowhere")
    with pytest.raises(BadInput, match=r"\[data\] train: .*nowhere: there is no such folder or file"):
        faked(place.recipe(TRAIN, head))


def test_first_weights_follow_from_the_seed(place: Place, tmp_path: Path) -> None:
    def first(path: Path) -> bytes:
        module = Chain(load(path), lambda *_: None, lambda _: None)._built()
        return b"".join(p.detach().numpy().tobytes() for p in module.parameters())

    path = place.recipe(TRAIN)
    weights = first(path)
    assert first(path) == weights
    assert first(place.recipe(TRAIN + "\n[output]\nseed = 1\n")) != weights


def test_a_checkpoint_is_where_the_chain_starts(place: Place, faked: Any) -> None:
    trained = faked(place.recipe(TRAIN))
    checkpoint = trained.points[-1].folder / "state.pt"
    head = (place.folder / "recipe.toml").read_text().partition("[[stage]]")[0]
    head = head.replace("width = 16", f'width = 16\ncheckpoint = "{checkpoint}"')
    started = faked(place.recipe(TRAIN, head, "second.toml"))
    assert started.points[0].metrics is not None
    assert state(started.points[0]) == state(trained.points[-1])
    with pytest.raises(BadInput, match="another network"):
        faked(place.recipe(TRAIN, head.replace("width = 16", "width = 8"), "third.toml"))


PRUNE = """
[budget]
macs = 300_000

[[stage]]
method = "train"
epochs = 1

[[stage]]
method = "prune"
round_to = 2
"""
MACS = 518_528
STEP = 31_104
"""Multiply-adds of two channels of the second convolution, the dearest step."""


@pytest.mark.parametrize(
    "search",
    [
        'search = "global"\nimportance = "taylor"',
        'search = "uniform"',
        'search = "netadapt"\nsettings = { saving = 0.2 }\nshort_epochs = 0.2',
    ],
    ids=["global", "uniform", "netadapt"],
)
def test_pruning_onto_a_budget_of_multiply_adds(place: Place, faked: Any, search: str) -> None:
    from edgesmith.chain.recipe import load as load_recipe
    from edgesmith.compress.counting import macs

    path = place.recipe(PRUNE + search + "\n")
    done = faked(path)
    chain = Chain(load_recipe(path), lambda *_: None, lambda _: None, shown=False)
    module = chain._loaded(done.points[-1])
    example = chain.data.example
    assert macs(chain._loaded(done.points[1]), example) == MACS
    assert 300_000 - STEP < macs(module, example) <= 300_000
    assert all(layer.out_channels % 2 == 0 for layer in module if hasattr(layer, "out_channels"))
    assert faked(path).cached == [True] * 3


SEARCHED = PRUNE + 'search = "netadapt"\nsettings = { saving = 0.2 }\nshort_epochs = 0.2\n'
OWN_CLASS = "\n\nclass Own(nn.Sequential):\n    pass\n\ndef own(**options):\n    return Own(*small(**options))\n"


def weights(point: Point) -> list[bytes]:
    return [tensor.raw_data for tensor in onnx.load(point.onnx).graph.initializer]


def test_workers_find_what_one_after_another_finds(place: Place, faked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Backwards:
        """Instead of ``RayWorkers``: in this process, last to first."""

        def __init__(self, workers: int, **options: Any) -> None:
            asked.append((workers, options["num_gpus"], len(options["by_value"]) >= 1))

        def __enter__(self) -> Any:
            def parallel(function: Any, items: Any) -> Any:
                asked.append(len(items))
                return map(function, items[::-1])

            return parallel

        def __exit__(self, *_: object) -> None:
            asked.append("closed")

    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setattr(pruning, "RayWorkers", Backwards)
    last = faked(place.recipe(SEARCHED + "workers = 3\n")).points[-1]
    assert asked[0] == (3, 0.0, True) and max(asked[1:-1]) > 1 and asked[-1] == "closed"
    assert faked(place.recipe(SEARCHED)).cached == [True] * 3, "how many workers there are decides nothing"
    together = weights(last)
    shutil.rmtree(last.folder)
    assert weights(faked(place.recipe(SEARCHED)).points[-1]) == together


def test_tasks_of_ray_find_what_one_after_another_finds(place: Place, faked: Any) -> None:
    """With a network whose class no other process can import."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    (place.folder / "model.py").write_text(MODEL + OWN_CLASS)
    head = HEAD.replace("small", "own")
    last = faked(place.recipe(SEARCHED + "workers = 2\n", head)).points[-1]
    assert not ray.is_initialized()
    together = weights(last)
    shutil.rmtree(last.folder)
    assert weights(faked(place.recipe(SEARCHED, head)).points[-1]) == together


def test_channels_that_were_sent_are_pruned_alike(place: Place) -> None:
    data = Chain(load(place.recipe(TRAIN)), lambda *_: None, lambda _: None).data
    module = zoo_module("mobilenet-v2", classes=4, image_size=12, channels=1, width=0.25, seed=0)
    channels = NetworkChannels(module, data.example, data.labelled_batches, 4, 0.8, (), "taylor", 0)
    ratios = {g.name: 0.5 for g in channels.groups}
    assert channels.groups[0].features[0] == 1 and all(len(g.features) == 5 for g in channels.groups)
    expected = channels.prune(module, ratios)
    sent, known = pickle.loads(pickle.dumps((channels, module)))
    given = sent.prune(known, ratios)
    assert sum(p.numel() for p in given.parameters()) < sum(p.numel() for p in module.parameters())
    for (name, a), (same, b) in zip(given.state_dict().items(), expected.state_dict().items(), strict=True):
        assert name == same and a.equal(b)


def test_layers_to_ignore_that_are_none_are_refused(place: Place) -> None:
    data = Chain(load(place.recipe(TRAIN)), *[lambda *_: None] * 2).data
    module = zoo_module("mobilenet-v2", classes=4, image_size=12, channels=1, width=0.25, seed=0)
    channels = NetworkChannels(module, data.example, data.labelled_batches, 4, 0.8, ("head",), "taylor", 0)
    with pytest.raises(BadInput, match="no layer has such a name"):
        _ = channels.groups


def test_every_training_is_on_the_device_that_is_asked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "Bench", FakeBench)
    asked: list[str] = []
    original = learning.fit

    def fit(*args: Any, **named: Any) -> Any:
        asked.append(named.pop("device"))
        return original(*args, **named)

    for module in (learning, pruning):
        monkeypatch.setattr(module, "fit", fit)
    taught = '\n[[stage]]\nmethod = "{}"\nepochs = 1\nteacher = 1\n'
    search = 'search = "netadapt"\nsettings = { saving = 0.2 }\nshort_epochs = 0.2\n'
    path = place.recipe(PRUNE + search + taught.format("finetune") + taught.format("qat"))
    points = Chain(load(path), lambda *_: None, lambda _: None, shown=False, device="meta").run()
    assert len(points) == 5 and len(asked) > 4
    assert set(asked) == {"meta"}
    told = next(note for note in points[-1].notes if "tells the class" in note)
    same, among = (int(number) for number in re.findall(r"\d+", told))
    assert among == 32 and same >= 30


def test_a_device_that_cannot_be_used_is_refused_before_training(place: Place) -> None:
    path = place.recipe(TWO)
    refused = CliRunner().invoke(app, ["optimize", str(path), "--train-on", "quantum"])
    assert refused.exit_code == 2 and "cannot train there" in refused.stderr
    assert not path.with_suffix(".optimized").exists()


DECIDES = """
import torch
from torch import nn

class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))

    def forward(self, x):
        return self.layers(x) if x.mean() > 0 else self.layers(-x)

def small(**_):
    return Deciding()
"""


def test_a_network_that_decides_by_values_is_refused_before_training(place: Place, faked: Any) -> None:
    (place.folder / "model.py").write_text(DECIDES)
    with pytest.raises(BadInput, match=r"other outputs than the network for \d+ of 16") as raised:
        faked(place.recipe(TWO))
    assert raised.value.where == "Deciding" and "torch.where" in raised.value.hint


@pytest.mark.parametrize(
    ("target", "precision", "multiple"),
    [
        ("x86_64-linux-gnu+avx512vnni", "f32", 16),
        ("x86_64-linux-gnu+avx512vnni", "int8", 16),
        ("x86_64-linux-gnu+avx2", "int8", 8),
        ("raspberry-pi-4", "f32", 4),
        ("stm32f746", "int8", 4),
        ("stm32f746", "f32", 1),
        ("stm32f746", "int4", 1),
    ],
)
def test_channels_fill_vectors(target: str, precision: str, multiple: int) -> None:
    assert vector_channels(parse(target), precision) == multiple


def test_channels_are_left_in_multiples_that_the_target_wants(place: Place, faked: Any) -> None:
    recipe = PRUNE.replace("round_to = 2\n", "").replace("300_000", "200_000") + '\n[target]\nname = "raspberry-pi-4"\n'
    done = faked(place.recipe(recipe))
    assert "in multiples of 4" in done.points[2].notes[-1]
    module = Chain(load(place.recipe(recipe)), lambda *_: None, lambda _: None)._loaded(done.points[2])
    left = [layer.out_channels for layer in module if hasattr(layer, "out_channels")]
    assert all(n % 4 == 0 for n in left) and any(n % 8 for n in left)
    other = recipe.replace("raspberry-pi-4", "x86_64-linux-gnu+avx2")
    assert faked(place.recipe(other)).points[2].folder != done.points[2].folder


def test_factors_take_the_place_of_layers_and_are_there_again(place: Place, faked: Any) -> None:
    stage = '\n[[stage]]\nmethod = "factorise"\nby = "macs"\nkeep = 0.6\n\n[[stage]]\nmethod = "finetune"\nepochs = 1\n'
    done = faked(place.recipe(TRAIN + stage))
    assert "replaced: 3 " in done.points[2].notes[0] or "replaced: 6 " in done.points[2].notes[0]
    sizes = [p.metrics.size_kb for p in done.points[1:] if p.metrics]
    assert sizes[1] < sizes[0] and sizes[2] == sizes[1]
    assert set(_tensors(done.points[3])) == set(_tensors(done.points[2])) != set(_tensors(done.points[1]))


def test_a_budget_out_of_reach_names_the_stage(place: Place, faked: Any) -> None:
    with pytest.raises(BudgetMissed, match=r"stage 2 prune.* it still needs [\d,]+ MACs of 3,000 MACs") as raised:
        faked(place.recipe(PRUNE.replace("300_000", "3_000")))
    assert "round_to = 1" in raised.value.hint
