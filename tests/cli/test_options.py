"""Options that have no use beside others are errors, before any work is done."""

from __future__ import annotations

import pytest

from .conftest import Run


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("verify nothing --key k.pub --on ssh://nohost", "--on"),
        ("verify nothing --key k.pub --seed 7", "--seed"),
        ("verify nothing --key k.pub --input x.npy", "--input"),
        ("verify nothing --key k.pub --keep folder", "--keep"),
        ("verify nothing --outputs --json", "--all"),
        ("profile nothing --count --on ssh://nohost", "--on"),
        ("profile nothing --count --threads 4", "--threads"),
        ("profile nothing --core cortex-a72 --repetitions 9", "--repetitions"),
        ("profile nothing --json --limit 3", "--limit"),
        ("compile nothing.onnx --budget 5m", "--budget"),
        ("compile nothing.onnx --tune full --lock model.lock.json", "--tune"),
        ("deploy nothing --to local: --rollback --threads 4", "--threads"),
        ("deploy nothing --to local: --rollback --key k.pub", "--key"),
        ("deploy nothing --to local: --no-bench --threads 4", "--threads"),
        ("bench nothing --networks lenet-5", "--networks"),
        ("bench --suite edge --model model.onnx", "--model"),
        ("bench --suite edge --budget 5", "--budget"),
        ("run nothing -i x.npy --top 3", "--top"),
        ("targets --threads 2", "--threads"),
    ],
)
def test_an_option_without_a_use_is_named(run: Run, words: str, option: str) -> None:
    done = run(*words.split())
    text = " ".join(done.stderr.split())
    assert done.exit_code == 2 and f"error: {option}: has no use" in text, done.output


@pytest.mark.parametrize("target", ["stm32f746", "wasm32-wasi", "thumb-freestanding-eabihf"])
def test_threads_of_what_has_one(run: Run, digits: object, target: str) -> None:
    done = run("compile", digits, "--target", target, "--threads", "2", "-o", "out")
    assert done.exit_code == 2 and f"programs for {target} have one thread" in done.stderr
