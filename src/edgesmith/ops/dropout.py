"""Dropout, which inference leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from edgesmith.ops.base import OPS, Case, OnnxNode, Operator
from edgesmith.ops.identity import Identity


@OPS.register("Dropout")
class Dropout(Identity):
    """https://onnx.ai/onnx/operators/onnx__Dropout.html."""

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        training = node.operand(2, "training_mode")
        if training is not None and training.item():
            raise node.unsupported("training mode", "export the model in inference mode")
        if len(node.outputs) > 1:
            raise node.unsupported("the mask is read")
        return Identity(), node.inputs[:1]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        return iter(())
