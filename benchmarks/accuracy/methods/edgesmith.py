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
    found = api.quantize(model, folder / "calibration.npy", settings=settings, output=folder / "model.onnx")
    layers = {value: error.sqnr_db for value, error in found.errors.items() if math.isfinite(error.sqnr_db)}
    (folder / "layers.json").write_text(json.dumps(layers))
