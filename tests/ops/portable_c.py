"""Runs the portable C of operators under sanitizers, on operands laid out in memory at random."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgesmith.c.mathfunctions import definitions
from edgesmith.c.vector import header
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, TensorType, View
from edgesmith.ops import Array, Operator
from edgesmith.target import parse

from .single_node import assert_same, rounding_bound

Use = tuple[Operator, Sequence[np.ndarray | None]]

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def check_portable(
    uses: Sequence[Use], folder: Path, seed: int = 0, bound: Callable[..., np.ndarray | float] = rounding_bound
) -> None:
    """Compile the portable C of all ``uses`` into one program and compare with the numpy references.

    Tasks run in two pieces, the second first. Every operand lies in an allocation of its own, so that the address
    sanitizer sees accesses outside; elements that no index reaches must keep their value.
    """
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    rng = np.random.default_rng(seed)
    program, data = Writer(), b""
    program.lines(header(parse("portable")) + "#include <stdio.h>\n#include <stdlib.h>\n")
    typed = [(op, [None if a is None else TensorType.of(a) for a in inputs]) for op, inputs in uses]
    functions = dict.fromkeys(f for op, types in typed for f in op.c_functions(types))
    program.lines(definitions(functions, vector=False))
    program.lines(_READ)
    calls: list[list[str]] = []
    wanted: list[tuple[Use, list[np.ndarray], list[View], list[np.ndarray]]] = []
    for number, (op, inputs) in enumerate(uses):
        results = [np.asarray(a) for a in op.reference(*inputs)]
        given = [a for a in inputs if a is not None]
        views = [_random_view(TensorType.of(a), rng) for a in (*given, *results)]
        buffers = [_pack(a, v) for a, v in zip(given, views, strict=False)]
        blanks = [
            rng.integers(1, 100, v.span).astype(np.uint8).astype(r.dtype)
            for r, v in zip(results, views[len(given) :], strict=True)
        ]
        _write_function(program, f"run{number}", op, inputs, views)
        types = [None if a is None else TensorType.of(a) for a in inputs]
        tasks = op.tasks(types, [TensorType.of(r) for r in results])
        calls.append(_call(number, views, len(given), tasks))
        data += b"".join(b.tobytes() for b in (*buffers, *blanks))
        wanted.append(((op, inputs), results, views[len(given) :], blanks))
    with program.block("int main(void)"):
        for lines in calls:
            with program.block(""):
                program.lines("\n".join(lines))
        program.line("return 0;")
    source = folder / "portable.c"
    source.write_text(program.text())
    binary = folder / "portable"
    zig = [sys.executable, "-m", "ziglang", "cc", *WARNINGS, "-c", str(source), "-o", str(folder / "portable.o")]
    gcc = [compiler, *WARNINGS, *SANITIZERS, str(source), "-o", str(binary), "-lm"]
    for command in (zig, gcc):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]
    run = subprocess.run([str(binary)], input=data, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    output = run.stdout
    for (op, inputs), results, views, blanks in wanted:
        for result, view, blank in zip(results, views, blanks, strict=True):
            raw = np.frombuffer(output[: blank.nbytes], blank.dtype).copy()
            output = output[blank.nbytes :]
            got = _strided(raw, view)
            dtype = DType.of(result.dtype)
            assert_same(got, result, bound(op, inputs, dtype), f"{op} on {_shown(inputs)}, {view}")
            got[...] = 0
            blank_view = _strided(blank, view)
            blank_view[...] = 0
            np.testing.assert_array_equal(raw, blank, f"{op} wrote between its elements")
    assert not output


_READ = """
static void *take(size_t size) {
    void *const memory = malloc(size ? size : 1);
    if (memory == NULL || fread(memory, 1, size, stdin) != size) {
        exit(2);
    }
    return memory;
}
"""


def _shown(inputs: Sequence[np.ndarray | None]) -> str:
    return ", ".join("-" if a is None else str(TensorType.of(a)) for a in inputs)


def _write_function(w: Writer, name: str, op: Operator, inputs: Sequence[np.ndarray | None], views: list[View]) -> None:
    count = sum(a is not None for a in inputs)
    pointers = [f"x{i}" if i < count else f"y{i - count}" for i in range(len(views))]
    arrays = [Array(p, v.at_origin) for p, v in zip(pointers, views, strict=True)]
    with w.block(f"static void {name}(void *const *p, int32_t begin, int32_t end)"):
        w.line("(void)p;")
        for i, array in enumerate(arrays):
            kind = f"{'const ' if i < count else ''}{array.view.dtype.c} *"
            w.line(f"{kind}const {array.pointer} = ({kind})p[{i}];")
        remaining = iter(arrays[:count])
        op.portable(w, [None if a is None else next(remaining) for a in inputs], arrays[count:])


def _call(number: int, views: list[View], inputs: int, tasks: int) -> list[str]:
    lines = [f"void *const m{i} = take({v.span * v.dtype.itemsize});" for i, v in enumerate(views)]
    starts = ", ".join(f"({v.dtype.c} *)m{i} + {v.offset}" for i, v in enumerate(views))
    lines += [
        f"void *const p[] = {{{starts}}};",
        f"run{number}(p, {tasks // 2}, {tasks});",
        f"run{number}(p, 0, {tasks // 2});",
    ]
    for i, v in enumerate(views):
        if i >= inputs:
            lines.append(f"fwrite(m{i}, 1, {v.span * v.dtype.itemsize}, stdout);")
        lines.append(f"free(m{i});")
    return lines


def _random_view(type: TensorType, rng: np.random.Generator) -> View:
    """A view with its axes in any order, gaps between them, and some of them backwards."""
    strides, step, offset = [0] * type.rank, int(rng.choice([1, 1, 2])), 0
    for axis in rng.permutation(type.rank):
        strides[axis] = step
        step = step * type.shape[axis] + int(rng.choice([0, 0, 3]))
        if rng.random() < 0.2 and type.size:
            offset += (type.shape[axis] - 1) * strides[axis]
            strides[axis] = -strides[axis]
    return View(type.shape, tuple(strides), type.dtype, offset)


def _strided(buffer: np.ndarray, view: View) -> np.ndarray:
    size = buffer.itemsize
    start = buffer[view.offset :] if view.size else buffer
    return np.lib.stride_tricks.as_strided(start, view.shape, [s * size for s in view.strides])


def _pack(array: np.ndarray, view: View) -> np.ndarray:
    buffer = np.zeros(view.span, array.dtype)
    if view.size:
        _strided(buffer, view)[...] = array
    return buffer
