"""With the zoo's own weights, the PyTorch module computes what ONNX Runtime computes from the ONNX model."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgesmith import zoo

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'train')")

from edgesmith.frontend.torch import export  # noqa: E402
from edgesmith.zoo.torch import module  # noqa: E402

pytestmark = pytest.mark.torch

LEAST_SIZE = {"alexnet": 67, "face-cnn": 90, "inception-v3": 75, "mlperf-tiny-person-detection": 96}
SIZE = 32
PICTURES = 4

ORDERS_OF_SUMMATION = 4.0
"""Two evaluations in single precision differ from the exact one by errors of the same distribution, as they round the
same products and sums in other orders. Their root mean squares over several pictures' outputs are then alike, but for a
factor: sums in blocks of n round with about 1 / sqrt(n) of the error of sums in a row."""


def _size(name: str) -> int:
    return min(LEAST_SIZE.get(name, SIZE), zoo.describe(name).image_size)


@pytest.fixture(autouse=True)
def small_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are fitted to pictures of the size that is run."""
    describe = zoo.describe

    def of_small_pictures(name: str) -> zoo.Network:
        network = describe(name)
        return replace(network, probe_size=min(network.probe_size, LEAST_SIZE.get(name, SIZE)))

    monkeypatch.setattr(zoo, "describe", of_small_pictures)


def _expected(name: str, picture: np.ndarray, **options: object) -> dict[str, np.ndarray]:
    model = zoo.build(name, seed=0, batch=PICTURES, **options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": picture}), strict=True))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _assert_equal(network: torch.nn.Module, picture: np.ndarray, expected: dict[str, np.ndarray]) -> None:
    single, given = network.eval(), torch.from_numpy(picture)
    with torch.no_grad():
        mine, exact = single(given), copy.deepcopy(single).double()(given.double())
    for name, output in expected.items():
        ours, right = (np.asarray(v[name] if isinstance(v, dict) else v) for v in (mine, exact))
        rounding = max(_rms(ours - right), np.finfo(np.float32).eps * _rms(right))
        assert _rms(output - right) <= ORDERS_OF_SUMMATION * rounding, name
        assert rounding < 1e-3 * _rms(right), f"{name}: rounding hides differences"


@pytest.mark.parametrize("name", zoo.names())
def test_module_computes_what_the_onnx_model_does(name: str) -> None:
    network, size = zoo.describe(name), _size(name)
    options = {"image_size": size, "classes": network.classes, "width": min(network.widths)}
    picture = np.random.default_rng(0).standard_normal(
        (PICTURES, network.channels, *network.size(size)), dtype=np.float32
    )
    _assert_equal(module(name, init="zoo", **options), picture, _expected(name, picture, **options))


@pytest.mark.parametrize("name", ["shufflenet-v1", "mobilenet-v3-small", "ds-cnn-s"])
def test_exported_module_computes_the_same(name: str, tmp_path: Path) -> None:
    """At an odd size, where SAME padding has a pixel on one side more often."""
    network, size = zoo.describe(name), min(47, zoo.describe(name).image_size)
    options = {"image_size": size, "classes": 10, "width": min(network.widths)}
    picture = np.random.default_rng(1).standard_normal(
        (PICTURES, network.channels, *network.size(size)), dtype=np.float32
    )
    built = module(name, init="zoo", **options)
    export(built, torch.from_numpy(picture), tmp_path / "net.onnx", traced=True)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: picture})
    ((name_of_output, _),) = _expected(name, picture, **options).items()
    _assert_equal(built, picture, {name_of_output: output})
    _assert_equal(built, picture, _expected(name, picture, **options))


def test_weights_are_those_of_the_seed() -> None:
    first, again, other = (module("lenet-5", init="zoo", seed=seed) for seed in (0, 0, 3))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.c1.weight, other.c1.weight)
