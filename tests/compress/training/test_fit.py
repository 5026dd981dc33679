"""The training loop: what it computes, and that an interrupted run ends where an uninterrupted one does."""

import json
import multiprocessing
import os
import signal
import time

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgesmith.compress.training import (
    Batches,
    Callback,
    Erase,
    Flip,
    Pictures,
    Settings,
    Shift,
    evaluate,
    fit,
)
from edgesmith.compress.training.checkpoint import Checkpoints
from edgesmith.errors import BadInput, TrainingDiverged

pytestmark = pytest.mark.torch


def stripes(count=96, seed=0):
    """Three classes that a small network tells apart: horizontal, vertical, and no stripes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = torch.randint(60, (count, 1, 8, 8), generator=generator)
    pixels[labels == 0, :, ::2] += 150
    pixels[labels == 1, :, :, ::2] += 150
    return Pictures(pixels.to(torch.uint8), labels)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(8, 3),
    )


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def run(module, settings=None, size=16, **arguments):
    data = Batches(stripes(), size, augment=(Shift(1), Flip(), Erase(0.2)))
    return fit(module, data, settings or Settings(epochs=3, lr=0.1), shown=False, **arguments)


def test_a_network_learns():
    module = network()
    data = Batches(stripes(), 16)
    test = data.evaluation(stripes(60, seed=1))
    history = fit(module, data, Settings(epochs=8, lr=0.2), validation=test, shown=False)
    assert history.top1 == evaluate(module, test) > 95
    assert history.epochs[-1].loss < history.epochs[0].loss / 2
    assert [e.step for e in history.epochs] == [6 * (i + 1) for i in range(8)]


def test_a_step_is_plain_sgd():
    """One epoch of one batch against PyTorch's own steps."""
    pictures = stripes(12)
    data = Batches(pictures, 12, shuffle=False)
    module, other = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), nn.Linear(64, 3)
    other.load_state_dict(module[1].state_dict())
    before = {k: v.clone() for k, v in other.state_dict().items()}
    settings = Settings(
        epochs=1, lr=0.1, momentum=0.0, weight_decay=0.01, schedule="constant", clip=0.05, label_smoothing=0.1
    )
    fit(module, data, settings, shown=False)
    batch = next(iter(data))
    functional.cross_entropy(other(batch.inputs.flatten(1)), batch.labels, label_smoothing=0.1).backward()
    norm = torch.cat([p.grad.flatten() for p in other.parameters()]).norm()
    assert norm > 0.05
    weight = before["weight"] - 0.1 * (other.weight.grad * 0.05 / (norm + 1e-6) + 0.01 * before["weight"])
    bias = before["bias"] - 0.1 * other.bias.grad * 0.05 / (norm + 1e-6)
    assert torch.allclose(module[1].weight, weight, atol=1e-6) and torch.allclose(module[1].bias, bias, atol=1e-6)


def test_accumulated_batches_are_one_larger_batch():
    plain = {"epochs": 2, "lr": 0.1, "clip": 1.0}
    modules = [nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    pictures = stripes()
    histories = [
        fit(modules[0], Batches(pictures, 24), Settings(**plain), shown=False),
        fit(modules[1], Batches(pictures, 8), Settings(**plain, accumulate=3), shown=False),
    ]
    assert [h.epochs[-1].step for h in histories] == [8, 8]
    assert torch.allclose(modules[0][1].weight, modules[1][1].weight, atol=1e-6)


def test_the_rest_of_an_epoch_is_a_step_of_its_own():
    history = fit(network(), Batches(stripes(), 16), Settings(epochs=2, accumulate=4), shown=False)
    assert history.epochs[-1].step == 4


class Interrupting(Callback):
    """What Ctrl-C does, after a number of steps."""

    def __init__(self, step):
        self._step = step
        self.seen = []

    def on_step(self, run):
        self.seen.append(run.step)
        if run.step == self._step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(epochs=3, lr=0.1),
        Settings(epochs=3, lr=0.01, optimiser="adamw", ema=0.9, schedule="cosine", clip=1.0),
        Settings(epochs=3, lr=0.1, accumulate=2, amp="bf16", channels_last=False),
        Settings(epochs=3, lr=0.1, amp="fp16", label_smoothing=0.1),
    ],
    ids=["sgd", "adamw-ema", "accumulate-bf16", "fp16"],
)
@pytest.mark.parametrize("step", [2, 6])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, settings, step):
    whole = network()
    history = run(whole, settings)
    resumed = network()
    with pytest.raises(KeyboardInterrupt):
        run(resumed, settings, callbacks=[Interrupting(step)], folder=tmp_path)
    torch.rand(3)
    resumed = network(seed=5)
    after = Interrupting(0)
    continued = run(resumed, settings, callbacks=[after], folder=tmp_path)
    assert after.seen[0] == step + 1
    assert same(whole, resumed)
    assert [e.loss for e in continued.epochs] == [e.loss for e in history.epochs]
    again = network(seed=6)
    assert run(again, settings, callbacks=[Interrupting(1)], folder=tmp_path).epochs == continued.epochs
    assert same(again, resumed)


def test_an_interrupt_in_the_last_validation_is_not_lost(tmp_path):
    class Held(Batches):
        def batches(self, *arguments):
            os.kill(os.getpid(), signal.SIGINT)
            return super().batches(*arguments)

    validation = Held(stripes(), 16, shuffle=False)
    module = network()
    settings = Settings(epochs=1, lr=0.1)
    with pytest.raises(KeyboardInterrupt):
        run(module, settings, validation=validation, folder=tmp_path)
    other = network(1)
    assert len(run(other, settings, folder=tmp_path).epochs) == 1 and same(module, other)


def test_random_numbers_after_a_run_do_not_follow_from_its_seed():
    module = network()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    run(module, Settings(epochs=1, deterministic=True))
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_second_interrupt_does_not_wait():
    class Twice(Callback):
        def on_gradients(self, run):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

        def on_step(self, run):
            raise AssertionError("the step was finished")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(network(), callbacks=[Twice()])
    assert signal.getsignal(signal.SIGINT) is before


class Slow(Callback):
    def on_step(self, run):
        time.sleep(0.02)


def train_slowly(folder):
    module = network()
    run(module, Settings(epochs=6, lr=0.1, ema=0.9), folder=folder, save_every=0.1, callbacks=[Slow()])
    torch.save(module.state_dict(), folder / "result.pt")


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    """kill -9 shortly after a checkpoint, twice."""
    checkpoint = tmp_path / "checkpoint.pt"
    before = 0
    for attempt in range(3):
        process = multiprocessing.get_context("fork").Process(target=train_slowly, args=(tmp_path,))
        process.start()
        while attempt < 2 and process.is_alive():
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                before = checkpoint.stat().st_mtime_ns
                time.sleep(0.05)
                process.kill()
                break
            time.sleep(0.005)
        process.join()
        assert process.exitcode == (0 if attempt == 2 else -signal.SIGKILL)
    whole = network()
    run(whole, Settings(epochs=6, lr=0.1, ema=0.9))
    killed = torch.load(tmp_path / "result.pt")
    assert all(torch.equal(killed[k], v) for k, v in whole.state_dict().items())
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(6))


def test_checkpoints_come_by_wall_time(tmp_path):
    now = [0.0]
    checkpoints = Checkpoints(tmp_path / "new", 45, clock=lambda: now[0])
    now[0] = 44.0
    assert checkpoints.seconds_left() == 1
    now[0] = 46.0
    assert checkpoints.seconds_left() < 0
    checkpoints.save({"step": 1})
    assert checkpoints.seconds_left() == 45
    assert checkpoints.load(torch.device("cpu"))["step"] == 1


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run(network(), folder=tmp_path)
    with pytest.raises(BadInput, match=r"lr=0\.1, this one has 0\.2"):
        run(network(), Settings(epochs=3, lr=0.2), folder=tmp_path)
    with pytest.raises(BadInput, match="batches"):
        run(network(), folder=tmp_path, size=8)
    with pytest.raises(BadInput, match=r"callbacks=\[\], this one has \['Slow'\]"):
        run(network(), folder=tmp_path, callbacks=[Slow()])
    with pytest.raises(BadInput, match="other weights"):
        run(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), folder=tmp_path)
    history = run(network(), Settings(epochs=1, lr=0.2), folder=tmp_path, resume=False)
    assert len(history.epochs) == 1
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_damaged_checkpoints_are_errors(tmp_path):
    run(network(), Settings(epochs=1), folder=tmp_path)
    path = tmp_path / "checkpoint.pt"
    data = path.read_bytes()
    place = data.index(torch.load(path)["module"]["6.weight"].numpy().tobytes())
    one_bit = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    for damaged in (b"", data[:100], data[: len(data) // 2], b"x" + data[1:], b"\x80\x04N.", one_bit):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match="remove it"):
            run(network(), Settings(epochs=1), folder=tmp_path)


def test_a_checkpoint_executes_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"format": 1, "evil": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(BadInput, match="cannot be read"):
        run(network(), folder=tmp_path)
    assert not (tmp_path / "owned").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    class Exploding(Callback):
        def on_step(self, run):
            if run.step == 9:
                with torch.no_grad():
                    run.module[0].weight.fill_(float("nan"))

    with pytest.raises(TrainingDiverged, match=r"step 10 of 18[\s\S]*lower lr"):
        run(network(), callbacks=[Exploding()], folder=tmp_path, save_every=0.0)
    kept = torch.load(tmp_path / "checkpoint.pt")
    assert kept["step"] >= 8


def test_callbacks_in_their_order_and_with_state(tmp_path):
    class Counting(Callback):
        def __init__(self):
            self.calls = []

        def on_start(self, run):
            assert run.module.training
            run.module[1].eval()
            self.calls.append("start")

        def on_gradients(self, run):
            assert run.module[0].weight.grad is not None
            self.calls.append("gradients")

        def on_step(self, run):
            assert not run.module[1].training
            run.log["rate"] = run.optimiser.param_groups[0]["lr"]
            self.calls.append("step")

        def on_epoch(self, run):
            self.calls.append("epoch")

        def state_dict(self):
            return {"calls": self.calls}

        def load_state_dict(self, state):
            self.calls = state["calls"]

    module, counting = network(), Counting()
    statistics = module[1].running_mean.clone()
    data = Batches(stripes(), 48)
    history = fit(
        module,
        data,
        Settings(epochs=2),
        callbacks=[counting],
        folder=tmp_path,
        shown=False,
        validation=data.evaluation(),
    )
    assert counting.calls == ["start", *(["gradients", "step"] * 2 + ["epoch"]) * 2]
    assert torch.equal(module[1].running_mean, statistics)
    assert history.epochs[0].values["rate"] == history.epochs[0].lr
    again = Counting()
    fit(network(), data, Settings(epochs=2), callbacks=[again], folder=tmp_path, shown=False)
    assert again.calls == [*counting.calls, "start"]


def test_losses_see_inputs_labels_and_on_request_indices():
    pictures = stripes()
    scale = nn.Linear(1, 1)
    seen = []

    class OfBatch:
        def of_batch(self, module, batch):
            seen.append(batch.indices)
            assert torch.equal(batch.labels, pictures.labels[batch.indices])
            return functional.cross_entropy(module(batch.inputs) * scale.weight.sum(), batch.labels)

    before = scale.weight.clone()
    fit(network(), Batches(pictures, 32), Settings(epochs=1), loss=OfBatch(), extra=[scale], shown=False)
    assert sorted(torch.cat(seen).tolist()) == list(range(96))
    assert not torch.equal(scale.weight, before)


def test_modes_of_submodules_are_kept_by_evaluation():
    module = network()
    module.train()
    module[1].eval()
    evaluate(module, Batches(stripes(), 16).evaluation())
    assert module.training and module[5].training and not module[1].training


def test_one_line_an_epoch_where_there_is_no_terminal(capfd):
    data = Batches(stripes(), 48)
    fit(network(), data, Settings(epochs=2), validation=data.evaluation())
    out, err = capfd.readouterr()
    lines = err.strip().splitlines()
    assert not out and len(lines) == 2 and lines[1].startswith("epoch 2/2: loss ") and "top-1" in lines[1]


def test_an_epoch_that_was_logged_and_not_saved_is_logged_once(tmp_path):
    """The last checkpoint is from the epoch's last step, and the kill comes after the epoch's line."""

    class Killed(Callback):
        def on_step(self, run):
            if self.alive and run.step == 7:
                raise RuntimeError("killed")

    killed = Killed()
    killed.alive = True
    with pytest.raises(RuntimeError):
        run(network(), folder=tmp_path, save_every=0, callbacks=[killed])
    assert torch.load(tmp_path / "checkpoint.pt")["step"] == 6
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    killed.alive = False
    history = run(network(), folder=tmp_path, callbacks=[killed])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert [line["loss"] for line in lines] == [done.loss for done in history.epochs]


def test_tensorboard_events(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed (extra 'tensorboard')")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = run(network(), folder=tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.value for e in events.Scalars("loss")] == pytest.approx([e.loss for e in history.epochs])
    with pytest.raises(BadInput, match="folder"):
        run(network(), tensorboard=True)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"lr": -1.0}, {"optimiser": "sgdd"}, {"amp": "int8"}, {"ema": 1.0}])
def test_settings_out_of_range(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Settings(**wrong)
