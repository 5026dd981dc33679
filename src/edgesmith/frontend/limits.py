"""What the frontend accepts: opset and IR versions, and caps that keep absurd models from exhausting the machine."""

from __future__ import annotations

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_FOLDED_BYTES",
    "MAX_FOLDED_ELEMENTS",
    "MAX_IR_VERSION",
    "MAX_OPSET",
    "MAX_TENSOR_BYTES",
    "MIN_IR_VERSION",
    "MIN_OPSET",
    "SKELETON_ELEMENTS",
    "TARGET_OPSET",
]

MIN_OPSET, MAX_OPSET = 7, 26
"""Opsets that ONNX Runtime officially supports. Found by loading one-node models into onnxruntime 1.31.1: it warns that
below 7 nothing is guaranteed, and refuses 27 (``ValidateOpsetForDomain`` in ``core/graph/model_load_utils.h``)."""

TARGET_OPSET = 26
"""The one opset that every model is converted to: the newest that ONNX Runtime and ``onnx.version_converter`` take."""

MIN_IR_VERSION, MAX_IR_VERSION = 3, 13
"""IR 3 brought opset imports; onnxruntime 1.31.1 refuses IR 14 ("Unsupported model IR version")."""

MAX_FILE_BYTES = 2**31 - 1
"""Protocol buffers hold no message of 2 GiB or more; weights beyond that are external data."""

MAX_TENSOR_BYTES = 8 << 30
"""The largest single tensor, constant or computed."""

MAX_FOLDED_ELEMENTS = 1 << 18
"""Constant folding may produce a tensor of this many elements, or as many as its inputs have, whichever is more."""

MAX_FOLDED_BYTES = 256 << 20
"""Constant folding leaves nodes alone whose inputs or outputs are larger than this."""

SKELETON_ELEMENTS = 1024
"""Initialisers with more elements are kept away from the libraries' C++ side, which would copy them at every call."""
