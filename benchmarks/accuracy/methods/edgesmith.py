"""Edgesmith's own quantiser: as it comes, without anything clever, and with everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACKAGES = ()

_ADAROUND = ["clip-activations", "adaround", "bias-correction"]

VARIANTS = {
    "Edgesmith": {
        "engine": "edgesmith",
        "width": "int8",
        "settings": "edgesmith quantize with its defaults",
    },
    "Edgesmith, naive min-max": {
        "engine": "edgesmith",
        "width": "int8",
        "settings": "ranges from the least to the greatest value, no recovery of accuracy",
        "options": {"observer": "min-max", "recovery": []},
    },
    "Edgesmith, AdaRound": {
        "engine": "edgesmith",
        "width": "int8",
        "settings": f"recovery: {', '.join(_ADAROUND)}",
        "options": {"recovery": _ADAROUND},
    },
    "Edgesmith, 4-bit weights": {
        "engine": "edgesmith",
        "width": "w4a8",
        "settings": f"weights of 4 bits with a scale per channel, recovery: {', '.join(_ADAROUND)}",
        "options": {"weight_bits": 4, "recovery": _ADAROUND},
    },
    "Edgesmith, 16-bit activations": {
        "engine": "edgesmith",
        "width": "int16x8",
        "settings": "activations of 16 bits, weights of 8; otherwise defaults",
        "options": {"precision": "int16x8"},
    },
    "Edgesmith, 16-bit activations, AdaRound": {
        "engine": "edgesmith",
        "width": "int16x8",
        "settings": "activations of 16 bits, weights of 8; recovery: adaround",
        "options": {"precision": "int16x8", "recovery": ["adaround"]},
    },
    "Edgesmith, 16-bit integers": {
        "engine": "edgesmith",
        "width": "int16",
        "settings": "activations and weights of 16 bits; otherwise defaults",
        "options": {"precision": "int16"},
    },
    "Edgesmith, fp16 weights": {
        "engine": "edgesmith",
        "width": "fp16",
        "settings": "weights rounded to fp16",
        "options": {"precision": "fp16"},
    },
    "Edgesmith, bf16 weights": {
        "engine": "edgesmith",
        "width": "bf16",
        "settings": "weights rounded to bf16",
        "options": {"precision": "bf16"},
    },
}


def convert(model: Path, folder: Path) -> None:
    """Also writes ``layers.json``: signal to quantisation noise of each stored value, in dB."""
    import math

    from edgesmith import api
    from edgesmith.quantize import Settings

    options: dict[str, Any] = json.loads((folder / "options.json").read_text())
    if "recovery" in options:
        options["recovery"] = tuple(options["recovery"])
    settings = Settings(**options)
    found = api.quantize(
        model,
        folder / "calibration.npy",
        precision=settings.precision,
        settings=settings,
        output=folder / "model.onnx",
    )
    layers = {value: error.sqnr_db for value, error in found.errors.items() if math.isfinite(error.sqnr_db)}
    (folder / "layers.json").write_text(json.dumps(layers))
