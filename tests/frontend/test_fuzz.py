"""Damaged and hostile models: each ends in a valid model or in an EdgesmithError.

``FUZZ_MUTATIONS=4000 pytest tests/frontend/test_fuzz.py`` runs more than the few hundred of every day; ``FUZZ_SEED``
chooses others. The worker is forked from this process, which has the libraries loaded, instead of started afresh.
"""

from __future__ import annotations

import os
import random
import select
import signal
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edgesmith.errors import EdgesmithError
from edgesmith.frontend import normalize as module
from edgesmith.frontend import worker
from edgesmith.frontend.normalize import Exit, normalize

from .mutation import mutate
from .onnx_models import assert_normal, build, convolutions

MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
MATERIAL = Path(__file__).parents[3] / "shared/material/models"
PUBLISHED = (
    "kws/kws_ref_model_float32.tf2onnx.onnx",
    "kws_qdq/micro_kws_m_static_qdq.onnx",
    "face/version-RFB-320.onnx",
)


def forked_worker(folder: Path, deadline_seconds: float) -> Exit:
    """``normalize.run_worker`` by fork."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        stderr = os.open(folder / "stderr", os.O_CREAT | os.O_WRONLY)
        os.dup2(stderr, 2)
        try:
            worker.main(folder)
            os._exit(0)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
            os._exit(1)
    os.close(write_end)
    ended = select.select([read_end], [], [], deadline_seconds)[0]
    os.close(read_end)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Exit(code if ended else None, (folder / "stderr").read_text(errors="replace")[-4096:])


def shaped() -> ModelProto:
    """Shape computations, amplifying operators, a constant branch, a function, and an initialiser as input."""
    make = helper.make_node

    def branch(op: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
        return helper.make_graph([make(op, ["t"], ["r"])], op, [], [output])

    nodes = [
        make("Shape", ["x"], ["s"]),
        make("Slice", ["s", "zero", "two"], ["s2"]),
        make("Concat", ["s2", "four"], ["s3"], axis=0),
        make("ConstantOfShape", ["s3"], ["k"]),
        make("Expand", ["x3", "s3"], ["e"]),
        make("Add", ["e", "k"], ["t"]),
        make("Equal", ["zero", "two"], ["eq"]),
        make("Squeeze", ["eq"], ["c"]),
        make("If", ["c"], ["i"], then_branch=branch("Relu"), else_branch=branch("Neg")),
        make("Activate", ["i"], ["a"], domain="mine"),
        make("Tile", ["a", "tiles"], ["tl"]),
        make("Pad", ["tl", "pads"], ["p"]),
        make("Range", ["r0", "r1", "r2"], ["range"]),
        make("Cast", ["range"], ["rf"], to=TensorProto.FLOAT),
        make("Add", ["p", "rf"], ["y"]),
        make("Unsqueeze", ["x", "two"], ["x3"]),
    ]
    constants = {
        "zero": np.array([0]),
        "two": np.array([2]),
        "four": np.array([4]),
        "tiles": np.array([1, 2, 1]),
        "pads": np.array([0, 0, 1, 0, 0, 1]),
        "r0": np.array(0),
        "r1": np.array(6),
        "r2": np.array(1),
    }
    model = build(nodes, {"x": [2, 3]}, ["y"], constants, opset=13)
    model.graph.input.append(helper.make_tensor_value_info("two", TensorProto.INT64, [1]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    body = [make("LeakyRelu", ["a"], ["m"]), make("Softplus", ["m"], ["b"])]
    model.functions.append(helper.make_function("mine", "Activate", ["a"], ["b"], body, [helper.make_opsetid("", 13)]))
    return model


def originals() -> dict[str, bytes]:
    models = {"convolutions": convolutions(), "convolutions7": convolutions(7), "shaped": shaped()}
    files = {name: model.SerializeToString() for name, model in models.items()}
    files.update((Path(name).stem, (MATERIAL / name).read_bytes()) for name in PUBLISHED if (MATERIAL / name).exists())
    return files


def shapes_of(data: bytes) -> dict[str, tuple[int, ...]]:
    """Shapes for the open inputs of an original, so that its mutations get beyond that question."""
    shapes = {}
    for value in onnx.load_model_from_string(data).graph.input:
        dims = value.type.tensor_type.shape.dim
        if any(not dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value or 1 for dim in dims)
    return shapes


def test_originals_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_worker", forked_worker)
    for data in originals().values():
        assert_normal(normalize(data, shapes=shapes_of(data)))


def test_mutations(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(module, "run_worker", forked_worker)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("EDGESMITH_FRONTEND_MEMORY_MB", "4096")
    monkeypatch.setenv("EDGESMITH_FRONTEND_SECONDS", "20")
    files = originals()
    shapes = {name: shapes_of(data) for name, data in files.items()}
    outcomes: Counter[str] = Counter()
    crashes: list[str] = []
    unexpected: list[str] = []
    for number in range(MUTATIONS):
        random_ = random.Random(f"{SEED}/{number}")
        name = random_.choice(list(files))
        kind, data = mutate(random_, files[name])
        place = f"{SEED}/{number} {name} {kind}"
        try:
            assert_normal(normalize(data, shapes=shapes[name]))
            outcomes["accepted"] += 1
        except EdgesmithError as error:
            outcomes[type(error).__name__] += 1
            if "crashed" in error.why:
                crashes.append(f"{place}: {error.why}")
            if "cannot be read:" in error.why or "process failed" in error.why:
                unexpected.append(f"{place}: {error}")
        except Exception as error:
            unexpected.append(f"{place}: {type(error).__name__}: {error}")
    with capsys.disabled():
        table = ", ".join(f"{kind} {count}" for kind, count in outcomes.most_common())
        print(f"\n{MUTATIONS} mutations: {table}; contained crashes {len(crashes)}")
        print("".join(f"  {line}\n" for line in crashes[:20]), end="")
    assert not unexpected, "\n".join(unexpected[:40])
    assert sum(outcomes.values()) == MUTATIONS
    assert outcomes["accepted"] and outcomes["ModelError"], "the mutations are too weak or too strong to tell anything"
    assert list(tmp_path.iterdir()) == []
