"""Edgesmith's own quantiser: as it comes, without anything clever, with everything, and in every other width.

Binary and ternary weights are missing: they are for networks that were trained for them, which these were not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACKAGES = ()

_ADAROUND = ["equalize", "wide-values", "adaround"]
_FEW_BITS = ["clip-weights", "adaround"]


def _variant(width: str, settings: str, **options: Any) -> dict[str, Any]:
    return {"engine": "edgesmith", "width": width, "settings": settings, "options": options}


VARIANTS = {
    "Edgesmith": _variant("int8", "edgesmith quantize with its defaults, which keep the noisiest values in floats"),
    "Edgesmith, 8 bits alone": _variant("int8", "--wide-work 0: no value in floats", wide_work=0.0),
    "Edgesmith, some 16 bits": _variant("int8", "--wide s16: the noisiest values in 16 bits", wide="I16"),
    "Edgesmith, naive min-max": _variant(
        "int8", "ranges from the least to the greatest value, no recovery of accuracy", observer="min-max", recovery=[]
    ),
    "Edgesmith, AdaRound": _variant("int8", f"--recovery {','.join(_ADAROUND)}", recovery=_ADAROUND),
    "Edgesmith, 1 % budget": _variant(
        "int8, f32",
        "--max-accuracy-drop 1: the fewest layers in floats with which 1 % of predictions change on calibration data",
        max_accuracy_drop=1.0,
    ),
    "Edgesmith, 4-bit weights": _variant(
        "w4a8",
        f"--weight-bits 4 --recovery {','.join(_FEW_BITS)}: weights of 4 bits with a scale for each channel",
        weight_bits=4,
        recovery=_FEW_BITS,
    ),
    "Edgesmith, 4-bit blocks": _variant(
        "int4",
        "--precision int4: weights of 4 bits with a scale for each block of 64, arithmetic in f32",
        precision="int4",
    ),
    "Edgesmith, int16x8": _variant("int16x8", "--precision int16x8", precision="int16x8"),
    "Edgesmith, int16": _variant("int16", "--precision int16", precision="int16"),
    "Edgesmith, fp16": _variant("fp16", "--precision fp16: weights in fp16, arithmetic in f32", precision="fp16"),
    "Edgesmith, bf16": _variant("bf16", "--precision bf16: weights in bf16, arithmetic in f32", precision="bf16"),
    "Edgesmith, bf16 activations": _variant(
        "bf16",
        "--precision bf16 --activations bf16: weights and inputs of products in bf16, sums in f32",
        precision="bf16",
        activations="BF16",
    ),
}


def convert(model: Path, folder: Path) -> None:
    """Also writes ``layers.json``: signal to quantisation noise of each value stored as integers, in dB."""
    import math

    from edgesmith import api
    from edgesmith.ir import DType
    from edgesmith.quantize import Settings

    options: dict[str, Any] = json.loads((folder / "options.json").read_text())
    if "recovery" in options:
        options["recovery"] = tuple(options["recovery"])
    for name in {"activations", "wide"} & options.keys():
        options[name] = DType[options[name]]
    settings = Settings(**options)
    found = api.quantize(
        model,
        folder / "calibration.npy",
        precision=settings.precision,
        settings=settings,
        output=folder / "model.onnx",
    )
    sqnr_db = {value: found.errors[value].sqnr_db for value in found.parameters.values if value in found.errors}
    (folder / "layers.json").write_text(json.dumps({v: db for v, db in sqnr_db.items() if math.isfinite(db)}))
