"""ONNX Runtime as the reference, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort

from edgesmith.errors import ModelError

__all__ = ["Oracle", "session"]


def session(model: onnx.ModelProto | str, threads: int = 1, *, optimized: bool = True) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        threads: threads inside an operator.
        optimized: with all graph optimisations (as a user runs it), or with none (as the model is written).
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    source = model if isinstance(model, str) else model.SerializeToString()
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the bindings raise types of their own, without a common base
        raise ModelError(f"ONNX Runtime refuses the model: {error}") from error


class Oracle:
    """The reference results of a model.

    Args:
        model: a normalised model; intermediate values can be asked for by name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._outputs = tuple(o.name for o in model.graph.output)
        self._sessions: dict[tuple[str, ...], ort.InferenceSession] = {}

    def run(self, feeds: Mapping[str, np.ndarray], values: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The model's outputs, or the named values, for the given inputs."""
        wanted = tuple(values) if values is not None else self._outputs
        if wanted not in self._sessions:
            self._sessions[wanted] = session(self._with_outputs(wanted), optimized=wanted == self._outputs)
        try:
            results = self._sessions[wanted].run(list(wanted), dict(feeds))
        except Exception as error:  # see ``session``
            raise ModelError(f"ONNX Runtime fails to run the model: {error}") from error
        return dict(zip(wanted, results, strict=True))

    def _with_outputs(self, values: Sequence[str]) -> onnx.ModelProto:
        if tuple(values) == self._outputs:
            return self._model
        extended = onnx.ModelProto()
        extended.CopyFrom(self._model)
        known = {v.name: v for v in (*extended.graph.value_info, *extended.graph.output, *extended.graph.input)}
        del extended.graph.output[:]
        extended.graph.output.extend(known.get(v) or onnx.ValueInfoProto(name=v) for v in values)
        return extended
