"""One network with awkward names, compiled once, and its packages."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgesmith
from edgesmith.device import Artifact
from edgesmith.packaging import pack

NAME = "My Net v1.2"
IDENTIFIER = "my_net_v1_2"
INPUTS = {"class": ((1, 2, 6, 6), np.float32), "steps": ((1, 4), np.float32)}
OUTPUTS = ("a.b/c:0 'é\"", "top")
"""A keyword of Python, a name that the generated C uses for itself, and one that is no identifier anywhere."""


def model() -> onnx.ModelProto:
    """Two branches with functions of their own, so that several C files define the same ones."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 2, 3, 3)).astype(np.float32),
        "axes": np.array([2, 3], np.int64),
        "m": rng.standard_normal((4, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["class", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("ReduceMean", ["s", "axes"], ["pooled"], keepdims=0),
        helper.make_node("Tanh", ["steps"], ["t"]),
        helper.make_node("Add", ["pooled", "t"], ["sum"]),
        helper.make_node("MatMul", ["sum", "m"], ["scores"]),
        helper.make_node("Softmax", ["scores"], [OUTPUTS[0]]),
        helper.make_node("ArgMax", ["scores"], [OUTPUTS[1]], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, (shape, _) in INPUTS.items()],
        [
            helper.make_tensor_value_info(OUTPUTS[0], TensorProto.FLOAT, [1, 5]),
            helper.make_tensor_value_info(OUTPUTS[1], TensorProto.INT64, [1, 1]),
        ],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def small_model() -> onnx.ModelProto:
    """The least that has weights and a function."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["s"]), helper.make_node("Sigmoid", ["s"], ["y"])]
    kinds = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8]) for n in "xy"]
    weights = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32), "w")
    graph = helper.make_graph(nodes, NAME, kinds[:1], kinds[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def compiled(folder: Path, network: onnx.ModelProto, **options: object) -> Artifact:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgesmith.codegen.package.FILE_BYTES", 1000)
        return edgesmith.compile(network, output=folder, name=NAME, cache=False, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compiled(tmp_path_factory.mktemp("packaging") / "out", model(), verify=False, threads=2)


@pytest.fixture(scope="session")
def packages(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of each form that this machine can use."""
    return pack(artifact, ["wheel", "source", "header-only"], tmp_path_factory.mktemp("packages"), "2.3.1")


@pytest.fixture(scope="session")
def feeds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {n: rng.standard_normal(shape).astype(dtype) for n, (shape, dtype) in INPUTS.items()}


@pytest.fixture(scope="session")
def results(artifact: Artifact, feeds: dict[str, np.ndarray]) -> bytes:
    """The bits of all outputs, one after the other."""
    outputs = artifact(**feeds)
    assert isinstance(outputs, dict)
    return b"".join(outputs[name].tobytes() for name in OUTPUTS)


@pytest.fixture
def program(feeds: dict[str, np.ndarray], tmp_path: Path) -> str:
    """C of a ``main`` that runs the model on ``feeds`` and writes the bits of its outputs to standard output."""
    values = {n: ", ".join(float(v).hex() + "f" for v in a.reshape(-1)) for n, a in feeds.items()}
    return f"""
#include <stdio.h>
#include <stdlib.h>

static const float first[] = {{{values["class"]}}}, second[] = {{{values["steps"]}}};

int main(void) {{
    const size_t bytes = {IDENTIFIER}_context_bytes(1);
    void *const memory = aligned_alloc(ES_ALIGNMENT, bytes);
    es_context *const context = {IDENTIFIER}_init(memory, bytes, 1, NULL, NULL);
    float scores[5];
    int64_t top;
    const void *const given[] = {{first, second}};
    void *const made[] = {{scores, &top}};
    {IDENTIFIER}_prepare(context);
    if ({IDENTIFIER}_run(context, given, made) != ES_OK) return 1;
    fwrite(scores, sizeof scores, 1, stdout);
    fwrite(&top, sizeof top, 1, stdout);
    free(memory);
    return 0;
}}
"""


def unpacked(archive: Path, folder: Path) -> Path:
    """The one folder in an archive."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return next(p for p in folder.iterdir() if p.is_dir())


def installed(*commands: str) -> pytest.MarkDecorator:
    missing = [c for c in commands if not shutil.which(c)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
