"""Tensors whose declared shape, type and data disagree, inline and external."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgesmith.errors import EdgesmithError, ModelError, ResourceLimit
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.tensors import check_data, inline_raw

from .onnx_models import assert_normal, build, run_model

TYPES = [
    value
    for name, value in TensorProto.DataType.items()
    if name not in ("UNDEFINED", "STRING", "FLOAT6E2M3", "FLOAT6E3M2", "FLOAT8E8M0")
]


def weighted(weight: np.ndarray) -> ModelProto:
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    return build([node], {"x": list(weight.shape)}, ["y"], {"w": weight})


@pytest.mark.parametrize(
    ("dims", "error", "message"),
    [
        ([3], ModelError, "holds 8 bytes, needs 12"),
        ([-2], ModelError, "negative"),
        ([1 << 40], ResourceLimit, "GiB"),
        ([1 << 62, 1 << 62], ResourceLimit, "GiB"),
        ([0, 1 << 62], ResourceLimit, "GiB"),
    ],
)
def test_dims_that_do_not_fit_the_data(dims: list[int], error: type[EdgesmithError], message: str) -> None:
    model = weighted(np.ones(2, np.float32))
    model.graph.initializer[0].dims[:] = dims
    with pytest.raises(error, match=f"initialiser 'w'.*{message}"):
        normalize(model)


@pytest.mark.parametrize("data_type", [0, 99, TensorProto.INT8, TensorProto.DOUBLE, TensorProto.STRING])
def test_type_that_does_not_fit_the_data(data_type: int) -> None:
    model = weighted(np.ones(2, np.float32))
    model.graph.initializer[0].data_type = data_type
    with pytest.raises(ModelError, match="initialiser 'w'"):
        normalize(model)


def test_data_in_two_forms() -> None:
    model = weighted(np.ones(2, np.float32))
    model.graph.initializer[0].float_data.extend([1, 2])
    with pytest.raises(ModelError, match="raw_data and float_data"):
        normalize(model)


@pytest.mark.parametrize("elem_type", TYPES, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_every_type_in_both_forms(elem_type: int, raw: bool, shape: tuple[int, ...]) -> None:
    array = np.ones(shape).astype(helper.tensor_dtype_to_np_dtype(elem_type))
    tensor = numpy_helper.from_array(array, "t")
    if not raw:
        tensor = helper.make_tensor("t", elem_type, shape, np.real(array).astype(np.float32).ravel().tolist())
    assert tensor.data_type == elem_type
    check_data(tensor, "here")
    inline_raw(tensor)
    check_data(tensor, "here")
    assert list(tensor.dims) == list(shape)
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), array)


def external(folder: Path, **changes: str | None) -> Path:
    """A model with a weight of 2 x 4 floats in ``weights.bin``; ``changes`` are made to the reference."""
    model = weighted(np.arange(8, dtype=np.float32).reshape(2, 4))
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    saved = onnx.load(path, load_external_data=False)
    entries = {entry.key: entry.value for entry in saved.graph.initializer[0].external_data}
    entries.update(changes)  # type: ignore[arg-type]
    del saved.graph.initializer[0].external_data[:]
    for key, value in entries.items():
        if value is not None:
            saved.graph.initializer[0].external_data.add(key=key, value=value)
    path.write_bytes(saved.SerializeToString())
    return path


def test_external_data_is_read(tmp_path: Path) -> None:
    for changes in ({}, {"length": None}, {"offset": None}):
        result = normalize(external(tmp_path, **changes))
        assert_normal(result)
        np.testing.assert_array_equal(run_model(result, {"x": np.zeros((2, 4), np.float32)})[0].ravel(), np.arange(8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"location": "absent.bin"}, "'absent.bin' is missing"),
        ({"location": "../outside.bin"}, "outside of the model's folder"),
        ({"location": "sub/../../outside.bin"}, "outside of the model's folder"),
        ({"location": "/etc/passwd"}, "outside of the model's folder"),
        ({"location": "C:\\weights.bin"}, "outside of the model's folder"),
        ({"location": "link.bin"}, "outside of the model's folder"),
        ({"location": "."}, "not a regular file"),
        ({"location": None}, "no file name"),
        ({"location": "a\0b"}, "no file name"),
        ({"location": "x" * 5000}, "cannot|missing"),
        ({"offset": "16"}, "beyond the end"),
        ({"offset": "-4"}, "'-4', not a byte count"),
        ({"offset": "9" * 40}, "not a byte count"),
        ({"length": "31"}, "31 bytes long, the shape needs 32"),
        ({"length": str(1 << 50)}, "the shape needs 32"),
    ],
)
def test_external_data_is_confined(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(64))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ModelError, match=message) as caught:
        normalize(external(folder, **changes))
    assert "initialiser 'w'" in caught.value.where


def test_huge_external_tensor_is_refused_before_reading(tmp_path: Path) -> None:
    path = external(tmp_path, length=None)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = [1 << 28, 4]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="beyond the end"):
        normalize(path)


def test_external_data_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not given as a file"):
        normalize(external(tmp_path).read_bytes())


def test_large_weights_are_folded_but_do_not_grow() -> None:
    weight = np.random.default_rng(0).standard_normal((300, 500)).astype(np.float32)
    nodes = [helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]), helper.make_node("MatMul", ["x", "wt"], ["y"])]
    result = normalize(build(nodes, {"x": [1, 500]}, ["y"], {"w": weight}))
    assert [node.op_type for node in result.graph.node] == ["MatMul"]
    np.testing.assert_array_equal(numpy_helper.to_array(result.graph.initializer[0]), weight.T)
