"""The data that decides a build: the same recipe, model and tuning lock give the same bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

__all__ = ["PARTS", "Recipe"]

PARTS = ("shared", "static", "exe")
"""What an artifact may consist of: libraries and the executable."""


@dataclass(frozen=True)
class Recipe:
    """What to build.

    Args:
        target: as ``target.parse`` reads it.
        shapes: extents of inputs with dynamic dimensions.
        bindings: inputs fixed at compile time, with the SHA-256 of their values.
        threads: default number of threads of the artifact.
        tune: where the times of kernels come from: ``off`` (their own predictions), ``cached`` (measured times where
            the tuning database has some), ``full`` (measure first); of no effect when there is a lock.
        lock: the text of a lock file, which decides all choices; None: they are made anew.
        compiler: ``zig`` (bundled) or a command on the PATH.
        only: kernels that may be used (None: all).
        flags: further compiler flags, such as sanitizers.
        emit: the parts of the artifact, of those that the target has, and the forms in which it is packaged.
        version: of the packages, of what CMake and pkg-config find.
        precision: ``f32``: as the model computes; otherwise what it is quantised to.
        quantization: digest of how: the settings and the calibration data.
        max_ram_bytes, max_flash_bytes: most memory that the program may take; 0: what the device has.
        input_type, output_type: ``model``: as it declares them; ``quantized``: the integers of a quantised model.
        isas: instruction sets among which the program picks when it runs; empty: it is for the target's.
    """

    target: str = "native"
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    bindings: tuple[tuple[str, str], ...] = ()
    threads: int = 1
    tune: str = "cached"
    lock: str | None = None
    compiler: str = "zig"
    only: tuple[str, ...] | None = None
    flags: tuple[str, ...] = ()
    emit: tuple[str, ...] = PARTS
    version: str = "1.0.0"
    precision: str = "f32"
    quantization: str = ""
    input_type: str = "model"
    output_type: str = "model"
    isas: tuple[str, ...] = ()
    max_ram_bytes: int = 0
    max_flash_bytes: int = 0

    def digest(self, *context: str) -> str:
        """SHA-256 of the recipe and further strings that decide the result."""
        return hashlib.sha256(json.dumps([asdict(self), *context], sort_keys=True).encode()).hexdigest()
