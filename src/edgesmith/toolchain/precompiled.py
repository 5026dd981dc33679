"""Headers that the compiler has read already, in the cache: a system's vector headers are longer than kernels."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgesmith import knobs
from edgesmith.atomic import write_file
from edgesmith.errors import CompilerFailed
from edgesmith.eviction import evict
from edgesmith.toolchain.compiler import Compiler
from edgesmith.toolchain.kept import INCLUDED

__all__ = ["HEADER", "precompiled"]

FOLDER = "headers"
HEADER = "es_simd.h"
"""What kernels include first."""


def precompiled(compiler: Compiler, header: Path, options: Sequence[str]) -> Path | None:
    """The header as the compiler keeps it for files that are compiled with the same options; None where it cannot,
    or where the header includes others of its folder, as on microcontrollers.

    What it keeps names the header's place, so that is the cache too. It holds no times: headers are compared by size.

    Args:
        options: those that files are compiled with.
    """
    content = header.read_bytes()
    if INCLUDED.search(content):
        return None
    root = knobs.CACHE_DIR().absolute() / FOLDER
    key = hashlib.sha256(repr((compiler.identity, *options, str(root))).encode() + b"\0" + content).hexdigest()
    made = root / key / f"{HEADER}.pch"
    try:
        if not made.is_file():
            made.parent.mkdir(parents=True, exist_ok=True)
            write_file(made.parent / HEADER, content)
            with tempfile.TemporaryDirectory(prefix=".part.", dir=root) as part:
                new = Path(part) / made.name
                told = ["-x", "c-header", HEADER, "-Xclang", "-fno-pch-timestamp", "-o", str(new)]
                compiler.run([*options, *told], cwd=made.parent)
                os.replace(new, made)
            evict(root, key)
        os.utime(made.parent)
    except (OSError, CompilerFailed):
        return None
    return made
