"""The executable as a service, byte for byte as docs/serving.md says, around a hand-made model under sanitizers."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesmith.codegen.package import RUNTIME
from edgesmith.codegen.selftest import selftest_header

pytestmark = pytest.mark.toolchain

GREETING = b"\x89ESM\r\n\x1a\n" + struct.pack("<HH", 2, 1)
DESCRIBE, WRITE_INPUT, READ_OUTPUT, RUN, READ_VALUE, WRITE_VALUE, CHECKSUM, TIME, THREADS, BYE = range(1, 11)
ERROR = 0xFFFF
FILES = [*(f for f in RUNTIME if f.endswith(".c")), "model.c"]
OPTIONS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::-1]
B = np.array([1, -2, 3, 40], np.int32)
Y = 2 * X + B.astype(np.float32)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, build_in: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "selftest_data.h").write_text(selftest_header([], [], []))
    return build_in(folder, FILES, OPTIONS)


def frame(kind: int, *numbers: int, tag: int = 7, data: bytes = b"") -> bytes:
    content = struct.pack(f"<{len(numbers)}I", *numbers) + data
    return struct.pack("<HHQ", kind, tag, len(content)) + content


def served(program: Path, requests: bytes) -> tuple[int, list[tuple[int, int, bytes]], str]:
    """Exit status, the answers (kind, tag, content) and what was printed."""
    done = subprocess.run([program, "--serve"], input=requests, capture_output=True, timeout=60)
    assert done.stdout.startswith(GREETING)
    rest, answers = done.stdout[len(GREETING) :], []
    while rest:
        kind, tag, size = struct.unpack_from("<HHQ", rest)
        assert len(rest) >= 12 + size
        answers.append((kind, tag, rest[12 : 12 + size]))
        rest = rest[12 + size :]
    return done.returncode, answers, done.stderr.decode()


INPUTS = frame(WRITE_INPUT, 0, data=X.tobytes()) + frame(WRITE_INPUT, 1, data=B.tobytes())


def test_a_run(program: Path) -> None:
    requests = INPUTS + frame(RUN, 0, 2, tag=9) + frame(READ_OUTPUT, 0) + frame(READ_OUTPUT, 1) + frame(BYE, tag=1)
    status, answers, said = served(program, requests)
    assert (status, said) == (0, "")
    assert [(kind, tag) for kind, tag, _ in answers] == [(2, 7), (2, 7), (4, 9), (3, 7), (3, 7), (10, 1)]
    assert len(answers[2][2]) == 8 and struct.unpack("<q", answers[2][2])[0] >= 0
    assert answers[3][2] == Y.tobytes() and answers[4][2] == struct.pack("<q", Y.argmax())


def test_values_are_dense_whatever_their_strides(program: Path) -> None:
    requests = INPUTS + frame(RUN, 0, 1) + b"".join(frame(READ_VALUE, i) for i in range(6))
    requests += b"".join(frame(CHECKSUM, i) for i in range(6))
    status, answers, _ = served(program, requests)
    values = [content for kind, _, content in answers if kind == READ_VALUE]
    columns, last = Y.reshape(6, 4).T, Y[0, 0, ::-1]
    assert status == 0
    assert values[0] == X.tobytes() and values[1] == B.tobytes() and values[2] == Y.tobytes()
    assert values[4] == columns.tobytes() and values[5] == last.tobytes()
    sums = [struct.unpack("<I", content)[0] for kind, _, content in answers if kind == CHECKSUM]
    assert sums == [zlib.crc32(v) for v in values]


def test_a_value_can_be_replaced_between_steps(program: Path) -> None:
    wanted = np.zeros((4, 6), np.float32)
    wanted[2, 5] = 1
    requests = INPUTS + frame(RUN, 0, 1) + frame(WRITE_VALUE, 4, data=wanted.tobytes()) + frame(RUN, 1, 2)
    status, answers, _ = served(program, requests + frame(READ_OUTPUT, 0) + frame(READ_OUTPUT, 1))
    assert status == 0
    assert answers[-2][2] == wanted.T.copy().tobytes() and answers[-1][2] == struct.pack("<q", 22)


def test_times(program: Path) -> None:
    status, answers, _ = served(program, INPUTS + frame(TIME, 3) + frame(THREADS, 3) + frame(TIME, 1))
    assert status == 0
    first, last = (np.frombuffer(answers[i][2], "<i8") for i in (2, 4))
    assert first.shape == (3 * 4,) and last.shape == (4,) and (first >= 0).all() and (last >= 0).all()


def test_other_threads_begin_with_zeros(program: Path) -> None:
    requests = INPUTS + frame(THREADS, 5) + frame(RUN, 0, 2) + frame(READ_OUTPUT, 0)
    status, answers, _ = served(program, requests + INPUTS + frame(RUN, 0, 2) + frame(READ_OUTPUT, 0))
    assert status == 0
    assert answers[4][2] == bytes(96) and answers[-1][2] == Y.tobytes()


def test_a_description(program: Path) -> None:
    status, answers, _ = served(program, frame(DESCRIBE))
    content = answers[0][2]
    assert status == 0 and content.startswith(
        struct.pack("<II", 1, 1) + b"\x06\0\0\x000.test\x10\0\0\x000123456789abcdef\0\0\0\0"
    )
    assert content.count(b"columns") == 1 and content.count(b"/ArgMax") == 1
    assert struct.pack("<IIqqq", 1, 3, 2, 3, 4) in content


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (frame(0), "request 0: unknown"),
        (frame(11), "request 11: unknown"),
        (frame(DESCRIBE, 1), "has a content"),
        (frame(BYE, 1), "has a content"),
        (frame(WRITE_INPUT), "no such input"),
        (frame(WRITE_INPUT, 2, data=bytes(96)), "no such input"),
        (frame(WRITE_INPUT, 0, data=bytes(95)), "another size than the input's"),
        (frame(WRITE_INPUT, 0, data=bytes(97)), "another size than the input's"),
        (frame(READ_OUTPUT, 2), "no such output"),
        (frame(READ_OUTPUT, 0, 0), "no such output"),
        (frame(RUN, 1, 0), "no such steps"),
        (frame(RUN, 0, 3), "no such steps"),
        (frame(RUN, 0), "no such steps"),
        (frame(RUN, 0x80000000, 0x80000001), "no such steps"),
        (frame(READ_VALUE, 6), "no such value"),
        (frame(READ_VALUE, 0xFFFFFFFF), "no such value"),
        (frame(WRITE_VALUE, 0, data=bytes(4)), "another size than the value's"),
        (frame(TIME, 0), "no such number of repetitions"),
        (frame(TIME, 1 << 20), "no such number of repetitions"),
        (frame(THREADS, 0), "no such number of threads"),
        (frame(THREADS, 1025), "no such number of threads"),
        (struct.pack("<HHQ", WRITE_INPUT, 7, 2**64 - 1) + bytes(100), "another size than the input's"),
    ],
)
def test_what_makes_no_sense_is_said_and_ends_it(program: Path, request_: bytes, message: str) -> None:
    status, answers, said = served(program, request_ + frame(DESCRIBE))
    assert status == 2 and len(answers) == 1
    kind, tag, content = answers[0]
    assert (kind, tag) == (ERROR, 7) and message in content.decode() and message in said


@pytest.mark.parametrize("cut", [1, 11, 12, 15, 50, 111])
def test_an_input_that_is_cut_off(program: Path, cut: int) -> None:
    status, answers, _ = served(program, frame(DESCRIBE) + frame(WRITE_INPUT, 0, data=X.tobytes())[:cut])
    assert status == 3 and [kind for kind, _, _ in answers] == [DESCRIBE]


def test_the_end_of_the_input_ends_it(program: Path) -> None:
    assert served(program, b"")[:2] == (0, [])


numbers = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 24, 1025, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
requests = st.builds(
    lambda kind, ns, data, tag: frame(kind, *ns, tag=tag, data=data),
    st.integers(0, 12),
    st.lists(numbers, max_size=3),
    st.sampled_from([b"", bytes(4), X.tobytes(), B.tobytes(), bytes(8), b"\xff" * 96]),
    st.integers(0, 0xFFFF),
)
good = st.sampled_from(
    [INPUTS, frame(RUN, 0, 2), frame(DESCRIBE), frame(READ_VALUE, 4), frame(TIME, 2), frame(THREADS, 2)]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(good | requests, max_size=8), st.binary(max_size=40), st.integers(0, 200))
def test_no_bytes_do_harm(program: Path, frames: list[bytes], noise: bytes, cut: int) -> None:
    stream = b"".join(frames)
    status, answers, said = served(program, stream[: max(len(stream) - cut, 0)] + noise if cut % 2 else stream + noise)
    assert status in (0, 2, 3) and "Sanitizer" not in said and "runtime error" not in said
    assert all(kind != ERROR for kind, _, _ in answers[:-1])
