"""The program that runs trials on a device, under sanitizers: what it computes, and that no bytes do harm."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgesmith
from edgesmith.tune.operands import BLOCK, FLOATS, GIVEN, HEAD, POINTER, ZEROS
from edgesmith.tune.remote import CLEAR, LOAD, TRIALS_HEADER, TURN

pytestmark = pytest.mark.toolchain

SOURCE = Path(edgesmith.__file__).parent
GREETING = b"\x89ESM\r\n\x1a\n" + struct.pack("<HH", 2, 2)
OPTIONS = ["-std=gnu99", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-O1", "-g"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TRIALS = """#include <stdlib.h>
#include "trials.h"

/* p: x and y of 4 floats, 4 weights, 4 prepared numbers. The result must be y = x * weights, with weights prepared. */
static void prepare(void *const *p) {
    if (p[0] || p[1]) abort();
    for (int i = 0; i < 4; i++) ((float *)p[3])[i] = ((const float *)p[2])[i];
}

static void multiply(void *const *p, int32_t begin, int32_t end, void *scratch) {
    (void)scratch;
    for (int32_t i = begin; i < end; i++) {
        const float x = ((const float *)p[0])[i], w = ((const float *)p[3])[i];
        if (x < -1 || x > 1 || (x > -0.5f && x < 0.5f) || w != (float)(i + 1)) abort();
        ((float *)p[1])[i] = x * w;
    }
}

static void hang(void *const *p, int32_t begin, int32_t end, void *scratch) {
    (void)p, (void)begin, (void)end, (void)scratch;
    for (volatile int i = 1; i;) {}
}

const trial_entry trial_entries[] = {{multiply, prepare}, {hang, NULL}};
const uint32_t trial_entry_count = 2;
"""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runner")
    (folder / "trials.h").write_text(TRIALS_HEADER)
    (folder / "trials.c").write_text(TRIALS)
    files = [SOURCE / "tune" / "runner.c", SOURCE / "tune" / "clock.c", folder / "trials.c"]
    files += [SOURCE / "codegen" / "runtime" / f"{name}.c" for name in ("es_frame", "es_affinity")]
    include = [f"-I{f}" for f in (folder, SOURCE / "tune", SOURCE / "codegen" / "runtime")]
    program = folder / "program"
    command = ["gcc", *OPTIONS, *SANITIZERS, *include, *map(str, files), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def frame(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("<HHQ", kind, 7, len(content)) + content


def trial(number: int = 0, block: int = 0, offset: int = 0) -> bytes:
    """A request to load a trial; ``block`` and ``offset``: of its first pointer."""
    weights = struct.pack("<4f", 1, 2, 3, 4)
    blocks = [(16, FLOATS, 1), (16, ZEROS, 0), (16, GIVEN, 0), (16, ZEROS, 0)]
    parts = [HEAD.pack(number, 4, 5, 4, 4, 2, 64, 1 << 16), *(BLOCK.pack(*b) for b in blocks)]
    parts += [POINTER.pack(offset, block, 0), *(POINTER.pack(0, i, 0) for i in (1, 2, 3))]
    return frame(LOAD, b"".join([*parts, weights]))


def turn(*numbers: int, seconds: int = 5) -> bytes:
    return frame(TURN, struct.pack(f"<{len(numbers) + 1}I", seconds, *numbers))


def served(runner: Path, requests: bytes) -> tuple[int, list[tuple[int, bytes]], str]:
    """Exit status, kind and content of each answer, what was printed."""
    environment = {**os.environ, "ASAN_OPTIONS": "allocator_may_return_null=1"}
    done = subprocess.run([runner], input=requests, capture_output=True, timeout=60, env=environment)
    assert done.stdout.startswith(GREETING)
    rest, answers = done.stdout[len(GREETING) :], []
    while rest:
        kind, tag, size = struct.unpack_from("<HHQ", rest)
        answers.append((kind, rest[12 : 12 + size]))
        assert tag == 7 or kind == 0xFFFF
        rest = rest[12 + size :]
    return done.returncode, answers, done.stderr.decode()


def test_turns(runner: Path) -> None:
    requests = trial() + trial() + turn(1, 0, 1) + frame(CLEAR) + trial() + turn(0) + turn()
    status, answers, said = served(runner, requests)
    assert (status, said) == (0, "")
    assert [kind for kind, _ in answers] == [LOAD, LOAD, TURN, CLEAR, LOAD, TURN, TURN]
    assert [struct.unpack("<I", answers[i][1])[0] for i in (0, 1, 4)] == [0, 1, 0]
    assert all(t >= 1 for t in struct.unpack("<3d", answers[2][1])) and answers[-1][1] == b""


def test_what_does_not_end_is_ended(runner: Path) -> None:
    status, answers, _ = served(runner, trial(1) + turn(0, seconds=1))
    assert status == -14 and len(answers) == 1


def test_an_end_within_a_request_is_no_malformed_request(runner: Path) -> None:
    for length in (3, 12, 20, 100, len(trial()) - 1):
        status, answers, _ = served(runner, trial()[:length])
        assert (status, answers) == (3, [])


def test_all_that_is_loaded_fits_into_the_machine(runner: Path) -> None:
    """Each request asks for less than there is, and all of them for more."""
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    small = frame(LOAD, HEAD.pack(1, 4, 5, 1, 0, 0, 0, 0) + BLOCK.pack(1 << 20, ZEROS, 0))
    large = frame(LOAD, HEAD.pack(1, 4, 5, 1, 0, 0, 0, 0) + BLOCK.pack(most - 4096, ZEROS, 0))
    status, answers, said = served(runner, (small + frame(CLEAR)) * 3 + small + large)
    assert (
        status == 4 and "no memory for" in said and [kind for kind, _ in answers] == [LOAD, CLEAR] * 3 + [LOAD, 0xFFFF]
    )


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (frame(9), "unknown"),
        (trial(2), "no such trial"),
        (trial(block=4), "a pointer leads outside"),
        (trial(offset=17), "a pointer leads outside"),
        (turn(0), "no such trial is loaded"),
        (frame(TURN, b"\0"), "too short"),
        (frame(CLEAR, b"\0"), "has a content"),
        (frame(LOAD, HEAD.pack(0, 4, 5, 1 << 20, 0, 0, 0, 0)), "too many operands"),
        (frame(LOAD, HEAD.pack(0, 4, 5, 0, 1, 2, 0, 0)), "too many operands"),
        (frame(LOAD, HEAD.pack(0, 4, 5, 1, 0, 0, 0, 0) + BLOCK.pack(1 << 62, ZEROS, 0)), "no memory for"),
        (frame(LOAD, HEAD.pack(0, 4, 5, 1, 0, 0, 0, 0) + BLOCK.pack(64, GIVEN, 0) + bytes(63)), "ends too early"),
        (frame(LOAD, HEAD.pack(0, 4, 5, 1, 0, 0, 0, 0) + BLOCK.pack(1 << 62, GIVEN, 0)), "ends too early"),
        (frame(LOAD, HEAD.pack(1, 4, 5, 0, 0, 0, 0, 0) + b"x"), "too long"),
    ],
)
def test_what_makes_no_sense_ends_it(runner: Path, request_: bytes, message: str) -> None:
    status, answers, said = served(runner, request_ + turn())
    assert status in (2, 4) and message in said
    assert [kind for kind, _ in answers] == [0xFFFF] and message in answers[0][1].decode()


sizes = st.sampled_from([0, 1, 2, 3, 4, 16, 4096, 1 << 16, 1 << 40, 2**64 - 1])
counts = st.sampled_from([0, 1, 2, 4, 4096, 1 << 31, 2**32 - 1])
loads = st.builds(
    lambda head, blocks, pointers, rest: frame(
        LOAD,
        # Trial 1 takes any operands; it is never run.
        HEAD.pack(1, *head)
        + b"".join(BLOCK.pack(*b) for b in blocks)
        + b"".join(POINTER.pack(*p, 0) for p in pointers)
        + rest,
    ),
    st.tuples(counts, counts, counts, counts, counts, sizes, sizes),
    st.lists(st.tuples(sizes, st.integers(0, 3), st.integers(0, 1)), max_size=4),
    st.lists(st.tuples(sizes, counts), max_size=4),
    st.binary(max_size=32),
)
good = st.sampled_from([trial(), frame(CLEAR), turn()])


@settings(max_examples=60, deadline=None)
@given(st.lists(good | loads, max_size=5), st.binary(max_size=30))
def test_no_bytes_do_harm(runner: Path, frames: list[bytes], noise: bytes) -> None:
    status, answers, said = served(runner, b"".join(frames) + noise)
    assert status in (0, 2, 3, 4) and "runtime error" not in said and "ERROR: " not in said
    assert all(kind != 0xFFFF for kind, _ in answers[:-1])
