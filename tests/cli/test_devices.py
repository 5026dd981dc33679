"""``--on``: programs that run on a device while a command works with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgesmith import knobs
from edgesmith.deploy.transports.local import Local
from edgesmith.device import load
from foreign import missing_emulator

from .conftest import Run

pytestmark = pytest.mark.toolchain


def test_verify_profile_and_run(compiled: Path, digits: Path, run: Run, tmp_path: Path) -> None:
    device = f"local:{tmp_path}/device"
    verified = run("verify", compiled, digits, "--on", device)
    assert verified.exit_code == 0, verified.output
    steps = len(load(compiled).manifest["steps"])
    assert " layers on this machine" in verified.stdout and verified.stdout.count(" ok") >= steps

    profiled = json.loads(run("profile", compiled, "--on", device, "-n", "3", "--json").stdout)
    assert len(profiled["steps"]) == steps and profiled["machine"] is None and profiled["device"] == device
    shown = run("profile", compiled, "--on", device, "-n", "3", "--threads", "2")
    assert shown.exit_code == 0 and "whole run" in shown.stdout and "roofline limit" not in shown.stdout

    ((name, type),) = load(compiled).inputs.items()
    np.save("x.npy", np.random.default_rng(0).standard_normal(type.shape).astype(type.dtype.numpy))
    for address, output in (("", "here.npz"), (device, "there.npz")):
        words = ["--on", address] if address else []
        assert run("run", compiled, "-i", f"{name}=x.npy", "-o", output, *words).exit_code == 0
    with np.load("here.npz") as here, np.load("there.npz") as there:
        assert here.files == there.files
        assert all(np.array_equal(here[file], there[file]) for file in here.files)
    assert not list((tmp_path / "device").iterdir())


@pytest.mark.skipif(bool(missing_emulator("neon")), reason=missing_emulator("neon"))
def test_a_device_picks_among_instruction_sets(
    digits: Path, run: Run, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best one of the program is not the device's."""
    options = ["--target", "aarch64-linux-gnu", "--isa", "neon,dotprod", "--tune", "off", "--no-verify", "--no-cache"]
    assert run("compile", digits, "-o", "out", *options).exit_code == 0
    there = ["--on", "qemu:cortex-a72"]
    verified = run("verify", "out", digits, *there)
    assert verified.exit_code == 0, verified.output
    assert "variant neon" in verified.stdout and "not run here: dotprod" in verified.stdout
    assert set(json.loads(run("verify", "out", digits, "--json", *there).stdout)["variants"]) == {"neon"}
    assert run("run", "out", "-i", image, "-o", "y.npz", *there).exit_code == 0
    monkeypatch.setenv(knobs.ISA.name, "neon")
    assert run("run", "out", "-i", image, "-o", "asked.npz", *there).exit_code == 0
    with np.load("y.npz") as found, np.load("asked.npz") as asked:
        assert all(np.array_equal(found[file], asked[file]) for file in asked.files)
    monkeypatch.setenv(knobs.ISA.name, "dotprod")
    refused = run("verify", "out", digits, *there)
    assert refused.exit_code != 0 and "--isa dotprod: this processor, or its system, does not run it" in refused.stderr


def test_addresses_that_make_no_sense(compiled: Path, digits: Path, run: Run) -> None:
    for words in (("verify", compiled, digits), ("profile", compiled)):
        done = run(*words, "--on", "pi@host")
        assert done.exit_code == 2 and "is no address of a device" in done.stderr and "ssh://user@host" in done.stderr
    both = run("tune", "zoo:lenet-5", "--on", "local:", "--by", "cycles")
    assert both.exit_code == 2 and "cycles are those of a model, not of a device" in both.stderr


def test_times_of_an_emulator_are_refused(
    compiled: Path, digits: Path, image: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Local, "tells_time", False)
    profiled = run("profile", compiled, "--on", "local:")
    assert profiled.exit_code == 2 and "times on it say nothing" in profiled.stderr and "--count" in profiled.stderr
    shown = run("run", compiled, "-i", image, "--on", "local:")
    assert shown.exit_code == 0 and shown.stdout.splitlines()[0] == str(image)
    for words in ((), ("--json",)):
        deployed = run("deploy", compiled, "--to", "local:device", *words)
        assert deployed.exit_code == 0 and "median" not in deployed.stdout
    assert json.loads(deployed.stdout)["times_ms"] is None
    for words in (("--bench",), ("--threads", "2")):
        timed = run("deploy", compiled, "--to", "local:device", *words)
        assert timed.exit_code == 2 and f"{words[0]}: has no use on an emulator" in " ".join(timed.stderr.split())
    tuned = run("tune", digits, "--on", "local:")
    assert tuned.exit_code == 2 and "times on it say nothing" in tuned.stderr and not list(Path().glob("*.lock.json*"))
