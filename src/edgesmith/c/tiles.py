"""The tile layer: matrices in registers of their own, for instruction sets that multiply those.

A tile has up to 16 rows of up to 64 bytes. Macros, whose tiles are numbers from 0 to 7:

======================================  ================================================================================
``ES_TILES_CONFIGURE(p)``               gives the tiles of this thread the shapes at p (see ``configuration``) and zeros
``ES_TILES_RELEASE()``                  ends the use of tiles by this thread
``ES_TILE_ZERO(t)``                     all elements 0
``ES_TILE_LOAD(t, p, stride)``          rows that begin ``stride`` bytes apart from p on
``ES_TILE_STORE(t, p, stride)``         likewise
``ES_TILE_DOT4(c, a, b)``               i32: c[i][j] += a[i][k] b[k / 4][4 j + k % 4] for all k; u8, i8; modulo 2**32
``ES_TILE_DOT2_BF16(c, a, b)``          f32: c[i][j] += a[i][k] b[k / 2][2 j + k % 2] for all k; bf16
======================================  ================================================================================

``es_tiles_granted()`` asks the system whether this process may use them: a program calls it before anything above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgesmith.target import Isa

__all__ = ["MAX_ROWS", "MAX_ROW_BYTES", "TILES", "TILE_PRIMITIVES", "configuration", "tile_layer"]

TILES, MAX_ROWS, MAX_ROW_BYTES = 8, 16, 64

TILE_PRIMITIVES: Mapping[str, tuple[str, ...]] = {
    "tiles_configure": ("p",),
    "tiles_release": (),
    "tile_zero": ("t",),
    "tile_load": ("t", "p", "stride"),
    "tile_store": ("t", "p", "stride"),
    "tile_dot4": ("c", "a", "b"),
    "tile_dot2_bf16": ("c", "a", "b"),
}
"""Name -> parameters."""


def tile_layer(isa: Isa) -> str:
    """C text of the macros; empty for an instruction set without tiles."""
    if not isa.tiles:
        return ""
    headers, ask = (isa.permission.headers, isa.permission.ask) if isa.permission else ((), "    return 1;")
    lines = ["#if defined(__linux__)", *(f"#include <{h}>" for h in headers), "#endif"] if headers else []
    for name, parameters in TILE_PRIMITIVES.items():
        lines.append(f"#define ES_{name.upper()}({', '.join(parameters)}) {isa.tiles[name].format(*parameters)}")
    granted = f"ES_UNUSED static inline int32_t es_tiles_granted(void) {{\n{ask}\n}}"
    return "\n".join((*lines, "", granted, ""))


def configuration(shapes: Sequence[tuple[int, int]]) -> np.ndarray:
    """The 64 bytes that ``ES_TILES_CONFIGURE`` reads, for tiles with (rows, bytes of a row).

    Palette 1, then from byte 16 on the bytes of a row of each tile (u16), and from byte 48 on its rows (u8): Intel 64
    and IA-32 Architectures Software Developer's Manual, LDTILECFG.
    """
    assert len(shapes) <= TILES and all(r <= MAX_ROWS and b <= MAX_ROW_BYTES for r, b in shapes)
    found = np.zeros(64, np.uint8)
    found[0] = 1
    for tile, (rows, row_bytes) in enumerate(shapes):
        found[16 + 2 * tile] = row_bytes
        found[48 + tile] = rows
    return found
