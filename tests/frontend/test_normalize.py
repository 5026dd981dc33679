from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from edgesmith.errors import BadInput, EdgesmithError, ModelError, ResourceLimit, UnsupportedOp
from edgesmith.frontend import normalize as module
from edgesmith.frontend.limits import MAX_IR_VERSION, MAX_OPSET, TARGET_OPSET
from edgesmith.frontend.normalize import Exit, normalize

from .onnx_models import assert_normal, build, convolutions, feeds_for, run_model

SHAPES = {"x": (2, 3, 8, 8)}
MODELS = Path(__file__).parents[3] / "shared/material/models"


@pytest.fixture
def conv_model() -> ModelProto:
    return convolutions()


def test_result_is_normal_and_computes_the_same(conv_model: ModelProto) -> None:
    result = normalize(conv_model, shapes=SHAPES)
    assert_normal(result)
    assert [entry.version for entry in result.opset_import] == [TARGET_OPSET]
    assert [node.op_type for node in result.graph.node if node.op_type in ("Shape", "Gather", "Concat")] == []
    values = {name for node in result.graph.node for name in node.output}
    assert {"c1", "n1", "r1", "c2", "a", "p", "f", "l", "y"} == values
    feeds = feeds_for(result)
    np.testing.assert_array_equal(run_model(conv_model, feeds)[0], run_model(result, feeds)[0])


def test_path_bytes_and_proto_give_the_same(conv_model: ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(conv_model, path)
    from_path = normalize(path, shapes=SHAPES)
    assert from_path == normalize(str(path), shapes=SHAPES)
    assert from_path == normalize(path.read_bytes(), shapes=SHAPES)
    assert from_path == normalize(conv_model, shapes=SHAPES)


def test_normalising_twice_changes_nothing(conv_model: ModelProto) -> None:
    once = normalize(conv_model, shapes=SHAPES)
    assert normalize(once) == once


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "ZIP archive"),
        (b"\x89HDF\r\n\x1a\nrest", "HDF5"),
        (b"\x1c\x00\x00\x00TFL3rest", "TensorFlow Lite"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b'{"a": 1}', "JSON"),
        (b"\x18\x00\x00\x00\x00\x00\x00\x00{}", "safetensors"),
        (b"\xff\xff\xff\xff random", "not an ONNX model, or it is damaged"),
        (b"\x08\x08", "no graph"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        normalize(path)
    assert caught.value.where.startswith(str(path))


def test_missing_file_folder_and_unreadable_type(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        normalize(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="a folder"):
        normalize(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ModelError, match="SavedModel"):
        normalize(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="regular file"):
        normalize(tmp_path / "pipe")
    with pytest.raises(BadInput, match="int"):
        normalize(3)  # type: ignore[arg-type]


def test_file_beyond_protobuf(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x08")
    os.truncate(path, 2**31 + 1)
    with pytest.raises(ResourceLimit, match="2 GiB"):
        normalize(path)


def test_truncated_file(conv_model: ModelProto) -> None:
    data = conv_model.SerializeToString()
    with pytest.raises(ModelError, match="truncated"):
        normalize(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("opset", "ir_version", "message"),
    [
        (6, 8, "opset 6"),
        (MAX_OPSET + 1, 8, "opset 27"),
        (13, 2, "IR version 2"),
        (13, MAX_IR_VERSION + 1, "IR version 14"),
    ],
)
def test_versions_out_of_range(conv_model: ModelProto, opset: int, ir_version: int, message: str) -> None:
    conv_model.opset_import[0].version, conv_model.ir_version = opset, ir_version
    with pytest.raises(ModelError, match=message):
        normalize(conv_model, shapes=SHAPES)


def test_no_or_contradicting_opset_import(conv_model: ModelProto) -> None:
    conv_model.opset_import.append(helper.make_opsetid("ai.onnx", 14))
    with pytest.raises(ModelError, match=r"\[13, 14\]"):
        normalize(conv_model, shapes=SHAPES)
    del conv_model.opset_import[:]
    with pytest.raises(ModelError, match="no opset"):
        normalize(conv_model, shapes=SHAPES)


def test_other_imports_are_harmless_until_used(conv_model: ModelProto) -> None:
    conv_model.opset_import.append(helper.make_opsetid("com.vendor", 1))
    assert len(normalize(conv_model, shapes=SHAPES).opset_import) == 1
    conv_model.graph.node[2].domain = "com.vendor"
    with pytest.raises(UnsupportedOp, match=r"relu1.*com\.vendor\.Relu"):
        normalize(conv_model, shapes=SHAPES)


def test_allocation_bomb_is_refused() -> None:
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["big"]), helper.make_node("ReduceSum", ["big"], ["y"])]
    with pytest.raises(ResourceLimit, match="more than 8 GiB"):
        normalize(build(nodes, {}, ["y"], {"s": np.array([1 << 40])}))
    with pytest.raises(ResourceLimit, match="more than 8 GiB"):
        normalize(build(nodes, {}, ["y"], {"s": np.array([1 << 62, 1 << 62])}))


@pytest.mark.parametrize("op", ["Expand", "Tile"])
def test_amplifying_operators_are_not_folded(op: str) -> None:
    count = np.array([1 << 20])
    model = build(
        [helper.make_node(op, ["c", "n"], ["e"]), helper.make_node("Add", ["e", "x"], ["y"])],
        {"x": [1]},
        ["y"],
        {"c": np.ones(1, np.float32), "n": count},
    )
    result = normalize(model)
    assert [node.op_type for node in result.graph.node] == [op, "Add"]
    assert result.ByteSize() < 10_000


def test_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESMITH_FRONTEND_MEMORY_MB", "300")
    weight = np.zeros(40_000_000, np.float32)
    model = build([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [1]}, ["y"], {"w": weight})
    with pytest.raises(ResourceLimit, match="EDGESMITH_FRONTEND_MEMORY_MB"):
        normalize(model)


def test_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESMITH_FRONTEND_SECONDS", "1")
    size = 512
    nodes = [helper.make_node("MatMul", [f"v{i}" if i else "c", "c"], [f"v{i + 1}"]) for i in range(3000)]
    model = build(
        [*nodes, helper.make_node("Add", ["x", "v3000"], ["y"])],
        {"x": [1]},
        ["y"],
        {"c": np.eye(size, dtype=np.float32)},
    )
    start = time.monotonic()
    with pytest.raises(ResourceLimit, match="longer than 1 s"):
        normalize(model)
    assert time.monotonic() - start < 25


@pytest.mark.parametrize(
    ("end", "error", "message"),
    [
        (Exit(-signal.SIGSEGV, ""), ModelError, "crashed.*SIGSEGV"),
        (
            Exit(-signal.SIGABRT, "terminate called after throwing an instance of 'std::bad_alloc'"),
            ResourceLimit,
            "memory",
        ),
        (Exit(-signal.SIGKILL, ""), ResourceLimit, "memory"),
        (Exit(-signal.SIGXCPU, ""), ResourceLimit, "longer"),
        (Exit(None, ""), ResourceLimit, "longer"),
        (Exit(1, "Traceback ...\nImportError: no module"), ModelError, "ImportError: no module"),
    ],
)
def test_every_end_of_a_worker_is_an_error(
    conv_model: ModelProto, monkeypatch: pytest.MonkeyPatch, end: Exit, error: type[EdgesmithError], message: str
) -> None:
    monkeypatch.setattr(module, "run_worker", lambda folder, seconds: end)
    with pytest.raises(error, match=message):
        normalize(conv_model)


def test_worker_that_really_crashes(conv_model: ModelProto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    with pytest.raises(ModelError, match="SIGSEGV"):
        normalize(conv_model)


def test_interrupt_kills_the_worker(tmp_path: Path) -> None:
    sleeper = tmp_path / "python"
    sleeper.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 100\n")
    sleeper.chmod(0o755)
    script = (
        "import sys; from pathlib import Path; from edgesmith.frontend.normalize import run_worker;"
        f"sys.executable = {str(sleeper)!r}; run_worker(Path({str(tmp_path)!r}), 100)"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    for _ in range(1200):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            break
        time.sleep(0.05)
    caller.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in caller.communicate(timeout=20)[1]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_no_temporary_files_remain(conv_model: ModelProto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    normalize(conv_model, shapes=SHAPES)
    with pytest.raises(BadInput):
        normalize(conv_model)
    assert list(tmp_path.iterdir()) == []


def test_errors_carry_where_and_hint(conv_model: ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(conv_model, path)
    with pytest.raises(BadInput) as caught:
        normalize(path)
    assert caught.value.where == f"{path}: inputs"
    assert "x (n, 3, 8, 8)" in caught.value.why
    assert "--shape x=1,3,8,8" in caught.value.hint
    assert json.dumps(str(caught.value))


def _shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    if name.startswith("kws_ref_model"):
        return {"input_1": (1, 49, 10, 1)}
    return {
        "super_resolution": {"input": (1, 1, 224, 224)},
        "micro_kws_m_static_qdq": {"serving_default_input:0": (1, 1960)},
    }.get(name, {})


@pytest.mark.material
@pytest.mark.parametrize(
    "path", sorted(MODELS.rglob("*.onnx")) or [None], ids=lambda path: path.stem if path else "absent"
)
def test_published_models(path: Path | None) -> None:
    if path is None:
        pytest.skip("../shared/material is absent")
    result = normalize(path, shapes=_shapes_of(path.stem))
    assert_normal(result)
    original = onnx.load(path)
    assert [value.name for value in result.graph.output] == [value.name for value in original.graph.output]
    feeds = feeds_for(result)
    for expected, actual in zip(run_model(original, feeds), run_model(result, feeds), strict=True):
        eps = float(np.finfo(expected.dtype).eps) if expected.dtype.kind == "f" else 0.0
        rtol = max(1e-5, 4 * eps)
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol / 10 * np.abs(expected).max())
    before = {name for node in original.graph.node for name in node.output}
    added = {name for node in result.graph.node for name in node.output} - before
    assert not added or path.stem == "SqueezeNet_fp16", "only its Softmax of opset 7 needs more nodes"
