"""The C file that puts ``weights.bin`` into a program: by the assembler of each object format, or as an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["FORMATS", "array_source", "weights_source"]

ALIGNMENT = 64
WORDS_A_LINE = 6


def weights_source(symbol: str, object_format: str) -> str:
    """A C file that defines ``const unsigned char symbol[]`` with the content of ``weights.bin``.

    Args:
        object_format: one of ``FORMATS``.
    """
    return FORMATS[object_format](symbol)


def array_source(symbol: str, data: bytes) -> str:
    """The same for any compiler: the content as numbers, about 3.5 characters a byte.

    Args:
        data: the content; a multiple of 8 bytes, as ``Weights`` makes it. Words are little-endian.
    """
    words = np.frombuffer(data, "<u8")
    rows = [words[i : i + WORDS_A_LINE] for i in range(0, len(words), WORDS_A_LINE)]
    numbers = "\n".join("    " + " ".join(f"0x{w:x}u," for w in map(int, row)) for row in rows)
    return f"""/* The weights, as little-endian words of 8 bytes. */
#include <stdint.h>

extern const uint64_t {symbol}[{len(words)}];

const uint64_t {symbol}[{len(words)}] __attribute__((aligned({ALIGNMENT}))) = {{
{numbers}
}};
"""


def _assembled(symbol: str, *lines: str, guard: str = "") -> str:
    body = '\\n"\n        "'.join(lines)
    return f"""/* The weights, included by the assembler from weights.bin. */
{guard}extern const unsigned char {symbol}[];

__asm__("{body}\\n");
"""


_ELF_ONLY = """#if defined(__APPLE__)
#error "this package embeds its weights with ELF assembler directives"
#endif

"""


def _elf(symbol: str) -> str:
    return _assembled(
        symbol,
        ".section .rodata",
        f".balign {ALIGNMENT}",
        f".hidden {symbol}",
        f".globl {symbol}",
        f"{symbol}:",
        '.incbin \\"weights.bin\\"',
        f".balign {ALIGNMENT}",
        ".previous",
        guard=_ELF_ONLY,
    )


def _mach_o(symbol: str) -> str:
    """Symbols of C begin with an underscore; ``.private_extern`` is its hidden visibility."""
    return _assembled(
        symbol,
        ".section __TEXT,__const",
        f".balign {ALIGNMENT}",
        f".private_extern _{symbol}",
        f".globl _{symbol}",
        f"_{symbol}:",
        '.incbin \\"weights.bin\\"',
        f".balign {ALIGNMENT}",
        ".text",
    )


def _coff(symbol: str) -> str:
    """Nothing is exported unless it says so; 32-bit x86, where C's symbols begin with an underscore, is no target."""
    return _assembled(
        symbol,
        '.section .rdata,\\"dr\\"',
        f".balign {ALIGNMENT}",
        f".globl {symbol}",
        f"{symbol}:",
        '.incbin \\"weights.bin\\"',
        f".balign {ALIGNMENT}",
        ".text",
    )


def _wasm(symbol: str) -> str:
    return _assembled(
        symbol,
        f'.section .rodata.{symbol},\\"\\",@',
        f".balign {ALIGNMENT}",
        f".hidden {symbol}",
        f".globl {symbol}",
        f".type {symbol},@object",
        f"{symbol}:",
        '.incbin \\"weights.bin\\"',
        f".balign {ALIGNMENT}",
        f".size {symbol}, . - {symbol}",
    )


FORMATS: Mapping[str, Callable[[str], str]] = {"elf": _elf, "mach-o": _mach_o, "coff": _coff, "wasm": _wasm}
"""Object format -> the C text for a symbol."""
