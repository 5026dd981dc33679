"""``edgesmith quantize`` and ``edgesmith compile --precision``, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgesmith import api
from edgesmith.device import load
from edgesmith.oracle import Oracle
from edgesmith.quantize import Settings

from .conftest import Run

DIGITS_DATA = np.random.default_rng(7).random((40, 1, 8, 8), np.float32)


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "calibration.npz"
    np.savez(path, DIGITS_DATA)
    return path


def test_weights_in_blocks_need_no_data(run: Run, digits: Path, tmp_path: Path) -> None:
    result = run("quantize", digits, "--weight-bits", "4", "--block", "16", "-o", "b.onnx")
    assert result.exit_code == 0, result.stderr
    assert "in int4" in result.stdout
    kinds = {t.data_type for t in onnx.load(tmp_path / "b.onnx").graph.initializer}
    assert onnx.TensorProto.INT4 in kinds


def test_blocks_that_make_no_sense(run: Run, digits: Path, tmp_path: Path) -> None:
    for options, why in (
        (("--weight-bits", "4", "--block", "33"), "33 is none of 16, 32"),
        (("--weight-bits", "8", "--block", "32", "--precision", "int16"), "weights of 4 bits"),
        (("--block", "32"), "weights of 4 bits"),
    ):
        result = run("quantize", digits, *options, "-o", "b.onnx")
        assert result.exit_code != 0 and why in result.stderr, options
        assert not (tmp_path / "b.onnx").exists()


def test_help_has_examples(run: Run) -> None:
    shown = run("quantize", "--help")
    assert shown.exit_code == 0
    for words in ("--calibration photos/", "--observer", "none", "SQNR"):
        assert words in shown.stdout
    assert "quantize" in run("--help").stdout


def test_quantises_a_model_that_onnx_runtime_runs(run: Run, digits: Path, calibration: Path, tmp_path: Path) -> None:
    result = run("quantize", digits, "--calibration", calibration, "--report", "r.json", "--samples", "30")
    assert result.exit_code == 0, result.stderr
    place = tmp_path / f"{digits.stem}.int8.onnx"
    for words in (place.name, "30 runs, l3", "SQNR", "same class as in floats", "Least accurate values"):
        assert words in result.stdout
    report = json.loads((tmp_path / "r.json").read_text())
    wide = [w["value"] for w in report["wide_values"]]
    assert set(report["float_nodes"].values()) == {f"its input {v} is kept in floats" for v in wide}
    assert len(report["integer_nodes"]) >= 2
    assert all(f"kept in floats  {v}: " in result.stdout for v in wide)
    sizes = report["weights_bytes"]
    assert sizes["quantized"] < sizes["float"] * 0.35
    assert {"name", "node", "operator", "sqnr_db", "scale", "zero", "dtype", "cut_share"} == set(report["values"][0])
    assert all(v["sqnr_db"] > 20 for v in report["values"])
    model = onnx.load(place)
    kinds = {n.op_type for n in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    exact, rounded = Oracle(str(digits)), Oracle(str(place), optimized=False)
    for x in DIGITS_DATA[:4]:
        (a,), (b,) = (oracle.run({oracle.inputs[0]: x[None]}).values() for oracle in (exact, rounded))
        assert np.abs(a - b).max() < 0.15 * max(1.0, float(np.abs(a).max()))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([place.name, "r.json", "calibration.npz"])


def test_everything_in_8_bits_or_some_in_16(run: Run, digits: Path, calibration: Path) -> None:
    narrow, wide = (
        run("quantize", digits, "--calibration", calibration, "--samples", "30", "--json", *options)
        for options in (("--wide-work", "0"), ("--wide", "s16"))
    )
    found = [json.loads(result.stdout) for result in (narrow, wide)]
    assert found[0]["wide_values"] == [] and [r["float_nodes"] for r in found] == [{}, {}]
    assert {w["dtype"] for w in found[1]["wide_values"]} == {"i16"}
    assert {v["dtype"] for v in found[1]["values"]} == {"u8", "i16"}


def test_options_reach_the_settings(run: Run, digits: Path, calibration: Path) -> None:
    chosen = "--observer percentile --percentile 99.5 --activations s8 --symmetric --per-tensor --power-of-two"
    others = "--affine-weights --only-ops Conv --wide s16 --wide-work 0.1 --json"
    result = run("quantize", digits, "--calibration", calibration, *chosen.split(), *others.split())
    assert result.exit_code == 0, result.stderr
    settings = json.loads(result.stdout)["settings"]
    assert settings == json.loads(json.dumps(Settings().to_json())) | {
        "observer": "percentile",
        "percentile": 99.5,
        "activations": "i8",
        "symmetric_activations": True,
        "per_channel": False,
        "power_of_two": True,
        "symmetric_weights": False,
        "only": ["Conv"],
        "wide": "i16",
        "wide_work": 0.1,
    }


def test_without_data_the_output_says_so(run: Run, digits: Path) -> None:
    result = run("quantize", digits, "--calibration", "none", "-o", "q.onnx")
    assert result.exit_code == 0
    assert "(on synthetic inputs)" in result.stdout
    assert "warning: data-free" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no calibration data"),
        (("--calibration", "nowhere.npz"), "no such file"),
        (("--calibration", "calibration.npz", "--observer", "guess"), "no observer"),
        (("--calibration", "calibration.npz", "--exclude", "guess"), "no node 'guess'"),
        (("--calibration", "calibration.npz", "--activations", "u16"), "none of u8, i8"),
        (("--calibration", "calibration.npz", "--wide", "s8"), "none of f32, i16"),
        (("--calibration", "calibration.npz", "--precision", "int3"), "none of int8"),
    ],
)
@pytest.mark.usefixtures("calibration")
def test_wrong_use_is_told(run: Run, digits: Path, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    result = run("quantize", digits, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["calibration.npz"]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_halves_need_no_data(run: Run, digits: Path, precision: str, tmp_path: Path) -> None:
    result = run("quantize", digits, "--precision", precision, "--report", "r.json")
    assert result.exit_code == 0, result.stderr
    place = tmp_path / f"{digits.stem}.{precision}.onnx"
    for words in (place.name, f"in {precision}", "arithmetic in f32"):
        assert words in result.stdout
    assert place.stat().st_size < digits.stat().st_size
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["rounded_nodes"] and not report["integer_nodes"]


@pytest.mark.toolchain
def test_compiles_with_halves(run: Run, digits: Path) -> None:
    result = run("compile", digits, "-o", "out", "--precision", "bf16", "--no-cache", "--target", "portable")
    assert result.exit_code == 0, result.stderr
    assert "bf16" in result.stdout
    assert run("verify", "out", "--seed", "3").exit_code == 0


@pytest.mark.toolchain
def test_compiles_to_the_program_of_the_quantised_model(
    run: Run, digits: Path, calibration: Path, tmp_path: Path
) -> None:
    result = run("compile", digits, "-o", "out", "--precision", "int8", "--calibration", calibration, "--no-cache")
    assert result.exit_code == 0, result.stderr
    assert "int8; calibration " in result.stdout
    artifact = load(tmp_path / "out")
    assert {s["kernel"] for s in artifact.manifest["steps"]} & {"integer-tiles", "integer-depthwise"}
    run("quantize", digits, "--calibration", calibration, "-o", "q.onnx")
    assert (tmp_path / "q.onnx").read_bytes() == (tmp_path / "out" / api.QUANTIZED).read_bytes()
    assert run("compile", "q.onnx", "-o", "same", "--no-cache", "--name", digits.stem).exit_code == 0
    assert load(tmp_path / "same").manifest["graph"] == artifact.manifest["graph"]
    assert run("verify", "out", "--seed", "3").exit_code == 0


@pytest.mark.toolchain
def test_other_data_are_another_recipe(
    run: Run, digits: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESMITH_CACHE_DIR", str(tmp_path / "cache"))

    def compiled() -> tuple[set[str], str]:
        stages: list[str] = []
        artifact = api.compile(
            digits,
            output=tmp_path / "out",
            precision="int8",
            calibration=str(calibration),
            target="portable",
            progress=lambda stage, i, n: stages.append(stage),
        )
        return set(stages), artifact.manifest["model"]["quantization"]

    first, digest = compiled()
    again, same = compiled()
    assert "calibrate" in first and again == {"cache"} and same == digest
    np.savez(calibration, DIGITS_DATA * 0.5)
    assert compiled()[1] != digest


def test_calibration_without_precision_is_an_error(run: Run, digits: Path, calibration: Path) -> None:
    result = run("compile", digits, "--calibration", calibration)
    assert result.exit_code == 2
    assert "add --precision int8" in result.stderr
    result = run("compile", digits, "--precision", "int8")
    assert result.exit_code == 2
    assert "int8 needs calibration data" in result.stderr


def test_recovery_and_an_accuracy_budget(run: Run, digits: Path, calibration: Path, tmp_path: Path) -> None:
    exact = Oracle(str(digits))
    outputs = [next(iter(exact.run({exact.inputs[0]: x[None]}).values())) for x in DIGITS_DATA]
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(str(int(y.argmax())) for y in outputs))
    chosen = [
        "--weight-bits",
        "2",
        "--recovery",
        "clip-weights,adaround",
        "--max-accuracy-drop",
        "2",
        "--labels",
        labels,
    ]
    result = run("quantize", digits, "--calibration", calibration, *chosen, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["settings"]["recovery"] == ["clip-weights", "adaround"]
    assert report["settings"]["labels"] == [int(y.argmax()) for y in outputs]
    budget = report["accuracy_budget"]
    assert budget["met"] and budget["loss"] <= 2 and budget["what"] == "points of top-1 accuracy"
    assert set(report["float_nodes"]) == set(budget["floats"])


def test_recovery_none_and_errors(run: Run, digits: Path, calibration: Path, tmp_path: Path) -> None:
    result = run("quantize", digits, "--calibration", calibration, "--recovery", "none", "--json")
    assert json.loads(result.stdout)["settings"]["recovery"] == []
    assert json.loads(result.stdout)["accuracy_budget"] is None
    (tmp_path / "few.txt").write_text("1 2 3")
    for options, words in (
        (("--recovery", "adarond"), "adaround"),
        (("--max-accuracy-drop", "-1"), "drop"),
        (("--max-accuracy-drop", "1", "--labels", tmp_path / "few.txt"), "3 labels for 40 samples"),
    ):
        failed = run("quantize", digits, "--calibration", calibration, *options)
        assert failed.exit_code and words in " ".join(failed.stderr.split())
