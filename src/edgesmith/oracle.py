"""ONNX Runtime as the reference, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort

from edgesmith.errors import ModelError, UnsupportedOp

__all__ = ["Oracle", "half_precision", "session"]


def session(
    model: onnx.ModelProto | str, threads: int = 1, *, optimized: bool = True, exact_sums: bool = False
) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Products with 4-bit weights are computed in f32, as the model is written; ONNX Runtime would round activations to 8
    bits for them.

    Args:
        model: a model, or the path of its file.
        threads: threads inside an operator.
        optimized: with all graph optimisations (as a user runs it), or with none (as the model is written).
        exact_sums: sums of products of bytes are exact on every processor; by default those of two products saturate at
            16 bits on x86-64 without VNNI, which is faster.

    Raises:
        UnsupportedOp: ONNX Runtime has no implementation for an operator.
        ModelError: it refuses the model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if exact_sums:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimized:
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    source = model if isinstance(model, str) else model.SerializeToString()
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the bindings raise types of their own, without a common base
        kind = UnsupportedOp if "NOT_IMPLEMENTED" in str(error) or "Type Error" in str(error) else ModelError
        raise kind(f"ONNX Runtime refuses the model: {error}") from error


_NUMPY = {"float": "float32", "double": "float64"}
"""ONNX Runtime's names of element types where numpy has another."""


def half_precision(model: onnx.ModelProto) -> frozenset[int]:
    """The 16-bit element types in which ONNX Runtime computes values of the model; what Casts alone make, it rounds as
    the graph does."""
    graph = model.graph
    cast = {v for n in graph.node if n.op_type == "Cast" for v in n.output}
    values = (*graph.input, *graph.output, *(v for v in graph.value_info if v.name not in cast))
    return frozenset(v.type.tensor_type.elem_type for v in values) & {
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
    }


class Oracle:
    """The reference results of a model.

    Args:
        model: a model or the path of its file.
        fixed: inputs with a value of their own, given to every run; converted to the input's element type.
        optimized: see ``session``.

    Raises:
        UnsupportedOp: inputs or outputs are bf16, of which the Python binding has no arrays.
    """

    def __init__(
        self,
        model: onnx.ModelProto | str,
        fixed: Mapping[str, np.ndarray] | None = None,
        *,
        optimized: bool = True,
    ) -> None:
        self._session = session(model, optimized=optimized)
        declared = (*self._session.get_inputs(), *self._session.get_overridable_initializers())
        for value in (*declared, *self._session.get_outputs()):
            if value.type == "tensor(bfloat16)":
                raise UnsupportedOp("ONNX Runtime takes and gives no arrays of bf16", where=value.name)
        types = {value.name: value.type.removeprefix("tensor(").removesuffix(")") for value in declared}
        self._fixed = {
            name: np.asarray(value).astype(_NUMPY.get(types[name], types[name])) if name in types else value
            for name, value in (fixed or {}).items()
        }
        self.inputs = tuple(i.name for i in self._session.get_inputs())
        self.outputs = tuple(o.name for o in self._session.get_outputs())

    def run(self, feeds: Mapping[str, np.ndarray], values: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The model's outputs by name, or some of them.

        Raises:
            ModelError: ONNX Runtime fails on these inputs.
        """
        wanted = list(self.outputs if values is None else values)
        try:
            results = self._session.run(wanted, {**self._fixed, **feeds})
        except Exception as error:  # see ``session``
            raise ModelError(f"ONNX Runtime fails to run the model: {error}") from error
        return dict(zip(wanted, results, strict=True))
