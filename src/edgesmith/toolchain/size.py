"""How much memory a library takes in a program that calls it."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from edgesmith.errors import CompilerFailed
from edgesmith.target import Target
from edgesmith.toolchain.compiler import Compiler

__all__ = ["flash_bytes"]

ENTRIES = ("context_bytes", "init", "prepare", "run")
"""What a program calls at least."""
ALLOCATED, NO_BITS = 0x2, 8
"""Flag and type of sections: part of the program; without content in the file (System V ABI, chapter 4)."""


def flash_bytes(archive: Path, name: str, target: Target, compiler: Compiler) -> int:
    """Bytes of code and constants that a program without a system gets from a static library, weights included.

    The program calls what running an inference needs, and the linker drops the rest; the compiler's own routines count.

    Raises:
        CompilerFailed: the library cannot be linked.
    """
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        program = Path(folder) / "program"
        needed = [f"-Wl,-u,{name}_{entry}" for entry in ENTRIES]
        options = ["-Wl,--gc-sections", f"-Wl,-e,{name}_run", *needed, str(archive.absolute())]
        compiler.run(
            [*compiler.flags(target), "-O3", *options, "-o", str(program)],
            cwd=Path(folder),
        )
        return _loaded_bytes(program)


def _loaded_bytes(program: Path) -> int:
    """Bytes of all sections that are loaded from the file, of an ELF file of 32 bits."""
    data = program.read_bytes()
    if data[:5] != b"\x7fELF\x01":
        raise CompilerFailed("the linker made no ELF file of 32 bits", where=str(program))
    table, entry, count = (struct.unpack_from("<I", data, 32)[0], *struct.unpack_from("<HH", data, 46))
    total = 0
    for i in range(count):
        _, kind, flags, _, _, size = struct.unpack_from("<6I", data, table + i * entry)
        total += size if flags & ALLOCATED and kind != NO_BITS else 0
    return total
