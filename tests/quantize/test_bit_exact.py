"""The contract: the emitted program gives the simulator's integers, every one of them, whatever the instruction set."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgesmith
from edgesmith import api
from edgesmith.device import Artifact
from edgesmith.frontend.onnx import read
from edgesmith.ir import DType, Graph
from edgesmith.passes import optimize
from edgesmith.quantize import Settings
from edgesmith.target import parse
from edgesmith.verify import wrong_integers
from edgesmith.zoo import build

pytestmark = pytest.mark.toolchain

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "models"
NETWORKS: dict[str, dict[str, Any]] = {
    "mobilenet-v2": {"width": 0.35, "image_size": 32},
    "mobilenet-v3-small": {"image_size": 32},
    "shufflenet-v2-1.0": {"image_size": 32},
    "squeezenet-1.1": {"image_size": 32},
    "resnet-18": {"image_size": 32},
    "efficientnet-b0": {"image_size": 32},
    "lenet-5": {},
}
EVERYWHERE = ("mobilenet-v2", "mobilenet-v3-small", "lenet-5")
REAL = {
    "kws/kws_ref_model_int8.tf2onnx_qdq.onnx": {"input_1": (1, 49, 10, 1)},
    "kws_qdq/micro_kws_m_static_qdq.onnx": {"serving_default_input:0": (1, 1960)},
}


def targets() -> list[str]:
    """Plain C, and the first and the last set of vectors here."""
    isas = parse("native").isas
    return ["portable", *(f"native+{isa}" for isa in dict.fromkeys((isas[0], isas[-1])))]


@cache
def quantized(name: str) -> onnx.ModelProto:
    return api.quantize(build(name, **NETWORKS[name]), "none", samples=2).model


def program(model: onnx.ModelProto | Path, folder: Path, **options: Any) -> Artifact:
    """Its library alone, unverified."""
    return edgesmith.compile(
        model, output=folder / "out", tune="off", verify=False, cache=False, name="network", emit=("shared",), **options
    )


def inputs(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    return {v: rng.standard_normal(graph.type(v).shape).astype(graph.type(v).dtype.numpy) for v in graph.inputs}


def differences(artifact: Artifact, graph: Graph) -> tuple[dict[str, int], int]:
    """Of the program in this process; see ``wrong_integers``."""
    return wrong_integers(artifact, graph, inputs(graph), artifact.context())


@pytest.mark.parametrize("target", targets())
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_zoo(name: str, target: str, tmp_path: Path) -> None:
    if target != targets()[-1] and name not in EVERYWHERE:
        pytest.skip("some networks stand for all on the lesser instruction sets")
    model = quantized(name)
    graph, _ = optimize(read(model))
    wrong, compared = differences(program(model, tmp_path, target=target), graph)
    assert compared
    assert not wrong, f"of {compared} integers"


@pytest.mark.parametrize("wide", [DType.F32, DType.I16])
@pytest.mark.parametrize("target", (targets()[0], targets()[-1]))
def test_networks_with_values_of_several_widths(wide: DType, target: str, tmp_path: Path) -> None:
    model = build("squeezenet-1.1", **NETWORKS["squeezenet-1.1"])
    (value,) = model.graph.input
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    data = np.random.default_rng(12).standard_normal((8, *shape[1:])).astype(np.float32)
    found = api.quantize(model, data, settings=Settings(wide=wide, recovery=("wide-values", "gptq")))
    assert found.wide
    graph, _ = optimize(read(found.model))
    wrong, compared = differences(program(found.model, tmp_path, target=target), graph)
    assert compared
    assert not wrong, f"of {compared} integers"


@pytest.mark.parametrize("name", REAL)
def test_real_models(name: str, tmp_path: Path) -> None:
    path = MATERIAL / name
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    shapes = REAL[name]
    graph, _ = optimize(read(path, shapes=shapes))
    wrong, compared = differences(program(path, tmp_path, shapes=shapes), graph)
    assert compared
    assert not wrong, f"of {compared} integers"
