"""16-bit activations, with weights of 8 and of 16 bits: exact sums, the same in the program, the simulator and ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgesmith
from edgesmith import api
from edgesmith.errors import BadInput
from edgesmith.export import to_onnx
from edgesmith.frontend.onnx import read
from edgesmith.ir import DType
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.quantize import Settings
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.zoo import build

from .test_bit_exact import differences
from .test_insert import data, kinds, quantized, residual

WIDER = ("int16x8", "int16")
NETWORKS: dict[str, dict[str, Any]] = {
    "mobilenet-v2": {"width": 0.35, "image_size": 32},
    "squeezenet-1.1": {"image_size": 32},
    "resnet-18": {"image_size": 32},
    "lenet-5": {},
}
LARGE = {"resnet-18": "int16x8", "squeezenet-1.1": "int16"}
ON_PORTABLE = ("mobilenet-v2", "lenet-5")


@pytest.mark.toolchain
@pytest.mark.parametrize("target", ["portable", "native"])
@pytest.mark.parametrize("precision", WIDER)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_zoo(name: str, precision: str, target: str, tmp_path: Path) -> None:
    if target == "portable" and name not in ON_PORTABLE:
        pytest.skip("some networks stand for all in portable C")
    if LARGE.get(name, precision) != precision:
        pytest.skip("large networks take turns")
    model = build(name, **NETWORKS[name])
    quantized = api.quantize(model, "none", precision=precision, samples=2).model
    graph, _ = optimize(read(quantized))
    artifact = edgesmith.compile(
        quantized, target=target, output=tmp_path / "program", tune="off", verify=False, cache=False, name="network"
    )
    wrong, compared = differences(artifact, graph)
    assert compared
    assert not wrong, f"of {compared} integers"
    if target == "native":
        products = {s["kernel"] for s in artifact.manifest["steps"] for n in s["nodes"] if is_product(graph, n)}
        assert products <= {"integer-tiles", "integer-depthwise"}, products


def is_product(graph: Any, name: str) -> bool:
    node = graph.nodes[graph.position[name]] if name in graph.position else None
    return node is not None and node.op.name in ("ConvInteger", "MatMulInteger")


VARIANTS: list[dict[str, object]] = [
    {},
    {"activations": DType.U16},
    {"symmetric_activations": False},
    {"per_channel": False},
    {"power_of_two": True},
    {"recovery": ("equalize", "bias-correction")},
    {"recovery": ("clip-activations", "clip-weights", "adaround", "bias-correction")},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda v: "-".join(map(str, v.values())) or "default")
@pytest.mark.parametrize("precision", WIDER)
def test_close_to_floats_and_the_same_in_onnx_runtime(precision: str, settings: dict[str, object]) -> None:
    found = quantized(residual(), precision=precision, **settings)
    # A step of 8-bit weights is a 127th of their range, one of 16-bit numbers a 32767th.
    least = {"int16x8": 38, "int16": 80}[precision] - (8 if settings.get("power_of_two") else 0)
    assert all(e.sqnr_db > least for v, e in found.errors.items() if v in found.source.outputs)
    assert all(q.dtype in PRECISIONS[precision].activations for q in found.parameters.values.values())
    assert {q.dtype for q in found.parameters.weights.values()} == {PRECISIONS[precision].weights}
    final = optimize(found.graph)[0]
    names = kinds(final)
    assert names.count("ConvInteger") == 2 and names.count("MatMulInteger") == 1
    feeds = next(data(found.source))
    theirs = Oracle(to_onnx(found.graph), optimized=False).run(feeds)
    for graph in (found.graph, final):
        ours = graph.reference(feeds)
        for value, array in theirs.items():
            np.testing.assert_allclose(ours[value], array, atol=1e-4 if graph is final else 1e-5)


@pytest.mark.parametrize("precision", WIDER)
def test_an_accuracy_budget_holds(precision: str) -> None:
    found = quantized(residual(), precision=precision, max_accuracy_drop=1.0)
    assert found.choice is not None and found.choice.met
    assert not found.choice.floats


@pytest.mark.parametrize("precision", WIDER)
def test_zero_is_in_the_middle_unless_asked_otherwise(precision: str) -> None:
    usual = quantized(residual(), precision=precision).parameters
    assert not any(q.zero.any() for q in usual.values.values())
    other = quantized(residual(), precision=precision, symmetric_activations=False).parameters
    assert any(q.zero.any() for q in other.values.values())


def test_sums_are_wide_where_32_bits_may_not_hold_them() -> None:
    for precision, wide in zip(WIDER, (False, True), strict=True):
        final = optimize(quantized(residual(), precision=precision).graph)[0]
        products = [n for n in final.nodes if n.op.name == "ConvInteger"]
        assert {n.op.wide for n in products} == {wide}  # type: ignore[attr-defined]
        for node in products:
            weights = final.constants[node.inputs[1]].astype(np.int64)
            assert (int(np.abs(weights).sum(axis=(1, 2, 3)).max()) * 32768 >= 2**31) == wide


@pytest.mark.parametrize("precision", WIDER)
def test_weights_take_the_bytes_that_they_have(precision: str, tmp_path: Path) -> None:
    model = build("mobilenet-v2", width=0.35, image_size=32)
    found = api.quantize(model, "none", precision=precision, samples=2)
    sizes = found.report()["weights_bytes"]
    share = PRECISIONS[precision].weights.itemsize / 4
    assert share < sizes["quantized"] / sizes["float"] < share + 0.12


def test_asymmetric_weights_of_16_bits_are_refused() -> None:
    with pytest.raises(BadInput, match="symmetric"):
        Settings(precision="int16", symmetric_weights=False)
    with pytest.raises(BadInput, match="none of i16, u16"):
        Settings(precision="int16x8", activations=DType.U8)


@pytest.mark.toolchain
@pytest.mark.parametrize("precision", WIDER)
def test_compiles_and_agrees_with_onnx_runtime(precision: str, tmp_path: Path) -> None:
    artifact = edgesmith.compile(
        build("lenet-5"),
        output=tmp_path / "program",
        precision=precision,
        calibration="none",
        tune="off",
        cache=False,
        name="network",
    )
    assert artifact.verification and artifact.verification["ok"]
    assert (tmp_path / "program" / api.QUANTIZED).is_file()
