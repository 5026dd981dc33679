"""What travels between a caller and its worker, as files: the request, then the model as graph and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from edgesmith.frontend.skeleton import Skeleton
from edgesmith.frontend.tensors import inline_raw

__all__ = ["Request", "read", "write"]

_REQUEST, _GRAPH, _WEIGHTS = "request.json", "graph.onnx", "weights.bin"


@dataclass(frozen=True)
class Request:
    """One model to clean.

    Args:
        path: the ONNX file.
        folder: where its external data may lie; None for a model that was not given as a file.
        shapes: shapes of inputs, by name.
        seconds: processor time allowed.
        memory_bytes: address space allowed.
    """

    path: str
    folder: str | None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seconds: int = 0
    memory_bytes: int = 0

    def write(self, folder: Path) -> None:
        """Leave the request for a worker that is started with ``folder``."""
        (folder / _REQUEST).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Request:
        """The request that ``write`` left in ``folder``."""
        return cls(**json.loads((folder / _REQUEST).read_text()))


def write(skeleton: Skeleton, folder: Path) -> None:
    """Write a model into ``folder``, its initialisers in the order of their first use; the skeleton is consumed."""
    graph = skeleton.model.graph
    constants = skeleton.constants()
    used = [name for node in graph.node for name in node.input if name in constants]
    order = dict.fromkeys([*used, *constants])
    del graph.initializer[:]
    with (folder / _WEIGHTS).open("wb") as file:
        for name in order:
            tensor = constants.pop(name)
            large = skeleton.weights.pop(name, None) is not None
            inline_raw(tensor)
            if not large or tensor.data_type == TensorProto.STRING:
                graph.initializer.append(tensor)
                continue
            entry = graph.initializer.add(name=name, data_type=tensor.data_type, dims=tensor.dims)
            entry.data_location = TensorProto.EXTERNAL
            entry.external_data.add(key="length", value=str(len(tensor.raw_data)))
            file.write(tensor.raw_data)
    (folder / _GRAPH).write_bytes(skeleton.model.SerializeToString())


def read(folder: Path) -> ModelProto:
    """The model that ``write`` left in ``folder``, with all weights inline as raw data."""
    model = onnx.load_model_from_string((folder / _GRAPH).read_bytes())
    with (folder / _WEIGHTS).open("rb") as file:
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                tensor.raw_data = file.read(int(tensor.external_data[0].value))
                del tensor.external_data[:]
                tensor.ClearField("data_location")
    return model
