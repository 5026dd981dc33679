"""The Python mirror of ``es_abi.h`` has the compiler's layout."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesmith.device import local
from edgesmith.ir import DType
from edgesmith.plan import Space

STRUCTURES = {
    "es_tensor_info": local._TensorInfo,
    "es_step_info": local._StepInfo,
    "es_value_info": local._ValueInfo,
}


@pytest.mark.toolchain
def test_structures_and_numbers_agree(build: Callable[..., Path], tmp_path: Path) -> None:
    lines, expected = [], []
    for name, mirror in STRUCTURES.items():
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        expected.append(ctypes.sizeof(mirror))
        for field, kind in mirror._fields_:
            lines.append(f'printf("%zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));')
            expected += [getattr(mirror, field).offset, ctypes.sizeof(kind)]
    numbers = {"ES_ABI_VERSION": local.ABI_VERSION, "ES_SPACE_ARENA": Space.ARENA}
    numbers |= {"ES_SPACE_INPUT": Space.INPUT, "ES_SPACE_OUTPUT": Space.OUTPUT, "ES_ALIGNMENT": 64}
    numbers |= {f"ES_{d.name}": d.value for d in DType} | {"ES_POOL_MAX_THREADS": local.MAX_THREADS}
    for name, value in numbers.items():
        lines.append(f'printf("%d\\n", (int){name});')
        expected.append(int(value))
    text = '#include <stdio.h>\n#include "es_abi.h"\n#include "es_pool.h"\nint main(void) {\n'
    (tmp_path / "layout.c").write_text(text + "\n".join(lines) + "\nreturn 0;\n}\n")
    printed = subprocess.run([build(["layout.c"])], capture_output=True, text=True, check=True).stdout
    assert [int(word) for word in printed.split()] == expected
    assert (local._ARENA, local._INPUT, local._OUTPUT) == (Space.ARENA, Space.INPUT, Space.OUTPUT)
