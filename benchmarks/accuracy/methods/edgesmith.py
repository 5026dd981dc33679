"""Edgesmith's own quantiser: as it comes, and without anything clever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACKAGES = ()

VARIANTS = {
    "Edgesmith": {
        "engine": "edgesmith",
        "width": "int8",
        "settings": "edgesmith quantize with its defaults",
        "options": {"precision": "int8"},
    },
    "Edgesmith, naive min-max": {
        "engine": "edgesmith",
        "width": "int8",
        "settings": "ranges from the least to the greatest value, nothing else",
        "options": {"precision": "int8", "settings": {"observer": "min-max"}},
    },
}


def convert(model: Path, folder: Path) -> None:
    """Also writes ``layers.json``: signal to quantisation noise of each stored value, in dB."""
    import math

    from edgesmith import api
    from edgesmith.quantize import Settings

    options: dict[str, Any] = json.loads((folder / "options.json").read_text())
    settings = Settings(precision=options["precision"], **options["settings"]) if "settings" in options else None
    found = api.quantize(
        model,
        folder / "calibration.npy",
        precision=options["precision"],
        settings=settings,
        output=folder / "model.onnx",
    )
    layers = {value: error.sqnr_db for value, error in found.errors.items() if math.isfinite(error.sqnr_db)}
    (folder / "layers.json").write_text(json.dumps(layers))
