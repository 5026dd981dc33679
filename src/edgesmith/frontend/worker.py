"""The process in which the ONNX libraries read a model: a hostile file may crash or exhaust it, but not the caller.

``python -m edgesmith.frontend.worker FOLDER`` serves one request that ``normalize`` left in FOLDER.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx.checker
import onnx.inliner
import onnx.shape_inference
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import FunctionProto, GraphProto, ModelProto, TensorProto

from edgesmith.errors import EdgesmithError, ModelError, ResourceLimit, UnsupportedOp
from edgesmith.frontend import external_data, transfer
from edgesmith.frontend.folding import fold, infer_shapes
from edgesmith.frontend.library import guarded
from edgesmith.frontend.limits import MAX_IR_VERSION, MAX_OPSET, MIN_IR_VERSION, MIN_OPSET
from edgesmith.frontend.opset import convert
from edgesmith.frontend.qoperators import to_qdq
from edgesmith.frontend.signature import fix_inputs
from edgesmith.frontend.skeleton import Skeleton
from edgesmith.frontend.structure import (
    STANDARD_DOMAINS,
    check_operators,
    check_text,
    label,
    name_nodes,
    sort_nodes,
    subgraphs,
)
from edgesmith.frontend.tensors import attribute_tensors, check_data
from edgesmith.frontend.transfer import Request

__all__ = ["clean", "main"]


def clean(
    data: bytes, *, folder: Path | None, shapes: Mapping[str, Sequence[int]], bindings: Sequence[TensorProto]
) -> Skeleton:
    """A hostile file's bytes to a model of one opset, static shapes and known operators; see ``normalize.normalize``.

    It runs in the calling process, without limits.
    """
    model = _parse(data)
    check_text(model)
    _check_header(model)
    _gather_data(model, folder)
    model = _inline_functions(model)
    graph = model.graph
    name_nodes(graph)
    to_qdq(graph, model.opset_import[0].version, {tensor.name: tensor for tensor in graph.initializer})
    check_operators(graph, model.opset_import[0].version)
    sort_nodes(graph)
    fix_inputs(graph, shapes, bindings)
    skeleton = Skeleton(model)
    skeleton.through("the model breaks ONNX's rules", _checked)
    static = fold(skeleton)
    _refuse_control_flow(skeleton.model.graph)
    convert(skeleton, static)
    to_qdq(skeleton.model.graph, skeleton.opset, skeleton.constants())
    fold(skeleton)
    _require_static(skeleton)
    skeleton.model = _tidied(skeleton.model)
    return skeleton


def _parse(data: bytes) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(
            "the file is not an ONNX model, or it is damaged or truncated", hint="Compare its size with the original's."
        ) from error
    if not model.HasField("graph") or not model.graph.output:
        raise ModelError("there is no graph in the file", hint="It is damaged, truncated or not an ONNX model.")
    return model


def _check_header(model: ModelProto) -> None:
    """Check the versions, and reduce the opset imports to the standard one."""
    if not MIN_IR_VERSION <= model.ir_version <= MAX_IR_VERSION:
        raise ModelError(
            f"IR version {model.ir_version} is not supported, {MIN_IR_VERSION} to {MAX_IR_VERSION} are",
            hint="Export the model with another version of onnx.",
        )
    versions = {entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS}
    if len(versions) != 1:
        found = f"imports opsets {sorted(versions)}" if versions else "imports no opset of standard ONNX"
        raise ModelError(f"the model {found}, needs one")
    version = versions.pop()
    if not MIN_OPSET <= version <= MAX_OPSET:
        raise ModelError(
            f"opset {version} is not supported, {MIN_OPSET} to {MAX_OPSET} are",
            hint=f"Export the model with an opset of at most {MAX_OPSET}.",
        )
    model.ir_version = MAX_IR_VERSION  # from here on, no initialiser need be listed as an input
    if model.graph.sparse_initializer:
        raise UnsupportedOp("sparse initialisers are not supported", hint="Export the model with dense weights.")


def _gather_data(model: ModelProto, folder: Path | None) -> None:
    """Load external data, and check that every tensor holds what its shape asks for."""
    functions: Sequence[FunctionProto] = model.functions
    tensors = [(f"initialiser {tensor.name!r}", tensor) for tensor in model.graph.initializer]
    for nodes in (model.graph.node, *(function.node for function in functions)):
        tensors += attribute_tensors(nodes)
    for where, tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            external_data.load(tensor, folder, where)
        check_data(tensor, where)


def _inline_functions(model: ModelProto) -> ModelProto:
    """Inline the model's own functions, and leave one opset import."""
    version = next(entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS)
    if model.functions:
        if any(entry.version != version for function in model.functions for entry in function.opset_import):
            model = guarded("shape inference", onnx.shape_inference.infer_shapes, model)  # conversion needs the types
        model = guarded("inlining functions", onnx.inliner.inline_local_functions, model, True)
    del model.opset_import[:], model.functions[:], model.training_info[:]
    model.opset_import.add(version=version)
    _use_short_domain(model.graph)
    return model


def _use_short_domain(graph: GraphProto) -> None:
    for node in graph.node:
        if node.domain in STANDARD_DOMAINS:
            node.domain = ""
        for inner in subgraphs(node):
            _use_short_domain(inner)


def _checked(model: ModelProto) -> ModelProto:
    for output in model.graph.output:
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.shape.SetInParent()  # may be absent for ONNX Runtime, not for the checker
    onnx.checker.check_model(model)
    return model


def _refuse_control_flow(graph: GraphProto) -> None:
    for node in graph.node:
        if any(True for _ in subgraphs(node)):
            raise UnsupportedOp(
                "control flow that depends on the data is not supported",
                where=label(node),
                hint="Only If with a constant condition is: export the model by tracing, or bind the deciding input.",
            )


def _require_static(skeleton: Skeleton) -> None:
    """Check with strict inference, and that every value has a static shape; leave exactly those in ``value_info``."""
    shapes = infer_shapes(skeleton, strict=True)
    for node in skeleton.model.graph.node:
        for name in filter(None, node.output):
            if name not in shapes:
                raise UnsupportedOp(
                    f"the shape of {name!r} depends on the data or cannot be inferred",
                    where=label(node),
                    hint="Fix shapes with --shape, or bind the input that decides it with --bind.",
                )


def _tidied(model: ModelProto) -> ModelProto:
    """Only what the result promises: without notes of exporters and traces of the libraries."""
    result = ModelProto(ir_version=model.ir_version, graph=model.graph)
    result.opset_import.add(version=model.opset_import[0].version)
    result.graph.ClearField("doc_string")
    for node in result.graph.node:
        for name in ("doc_string", "domain", "metadata_props"):
            node.ClearField(name)
    return result


def _limit(request: Request) -> None:
    try:
        import resource
    except ImportError:  # not on Windows, where the caller's deadline remains
        return
    for kind, value in (
        (resource.RLIMIT_AS, request.memory_bytes),
        (resource.RLIMIT_CPU, request.seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, hard))


def main(folder: Path) -> None:
    """Serve the request in ``folder``: leave either the model or the error there."""
    request = Request.read(folder)
    _limit(request)
    try:
        bindings = GraphProto.FromString((folder / "bindings.bin").read_bytes())
        skeleton = clean(
            Path(request.path).read_bytes(),
            folder=Path(request.folder) if request.folder is not None else None,
            shapes=request.shapes,
            bindings=bindings.initializer,
        )
        transfer.write(skeleton, folder)
    except EdgesmithError as error:
        _report(folder, error)
    except MemoryError:
        _report(folder, ResourceLimit("reading the model takes too much memory"))
    except RecursionError:
        _report(folder, ModelError("the model is nested too deeply"))
    except Exception as error:
        traceback.print_exc()
        _report(folder, ModelError(f"the model cannot be read: {type(error).__name__}: {error}"))


def _report(folder: Path, error: EdgesmithError) -> None:
    entry = {"kind": type(error).__name__, "why": error.why, "where": error.where, "hint": error.hint}
    (folder / "error.json").write_text(json.dumps(entry))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
