"""A program in another process, which is told what to do, and what may happen to it."""

from __future__ import annotations

import os
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgesmith.device import Artifact, load
from edgesmith.device.channel import Channel, Lost, Refused
from edgesmith.device.session import MODEL_SERVICE, Description, Session, arguments
from edgesmith.errors import ArtifactError, DeviceError

pytestmark = pytest.mark.toolchain

X = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
GREETING = r"\211ESM\r\n\032\n\002\000\001\000"


@pytest.fixture(scope="module")
def artifact(built: tuple[Path, Path]) -> Artifact:
    return load(built[0])


@pytest.fixture
def session(artifact: Artifact) -> Iterator[Session]:
    with Session.start([str(artifact.executable), *arguments(artifact, 1)], "here", artifact) as session:
        yield session


def test_it_computes_what_a_context_computes(artifact: Artifact, session: Session) -> None:
    context, steps = artifact.context(), len(artifact.manifest["steps"])
    for instance in (context, session):
        instance.bind([X])
        for i in range(steps):
            instance.run_steps(i, i + 1)
    for a, b in zip(context.outputs(), session.outputs(), strict=True):
        np.testing.assert_array_equal(a, b)
    for value in context.program.values:
        np.testing.assert_array_equal(context.read(value), session.read(value))
        assert context.checksum(value) == session.checksum(value) == zlib.crc32(context.read(value).tobytes())
    assert session.description.build == artifact.manifest["build"]
    assert list(session.description.values) == list(context.program.values)


def test_a_value_is_replaced(artifact: Artifact, session: Session) -> None:
    value = artifact.manifest["steps"][0]["outputs"][0]
    shape = session.description.values[value].shape
    changed = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    session.write(value, changed)
    np.testing.assert_array_equal(session.read(value), changed)
    session.write(value, np.float32(3))
    assert (session.read(value) == 3).all()


def test_times_and_threads(artifact: Artifact, session: Session) -> None:
    steps = len(artifact.manifest["steps"])
    session.set_threads(2)
    session.bind([X])
    times = session.time_steps(3)
    assert times.steps.shape == (3, steps) and times.whole.shape == (3,) and times.empty.shape == (3,)
    assert (times.steps.sum(axis=1) > 0).all() and times.whole.max() > 0
    np.testing.assert_array_equal(session.outputs()[0], artifact(X)["probabilities"])


def test_what_it_refuses_is_said(session: Session) -> None:
    with pytest.raises(Refused, match="no such steps"):
        session.run_steps(1, 99)
    with pytest.raises(DeviceError):
        session.run_steps(0, 1)


def test_another_program_is_found_out(artifact: Artifact, built: tuple[Path, Path]) -> None:
    with pytest.raises(ArtifactError, match="the program on here is another one"):
        Session.start([str(load(built[1]).executable), "--serve"], "here", artifact)


def test_a_killed_program_is_named(session: Session) -> None:
    session._channel._process.send_signal(signal.SIGKILL)
    with pytest.raises(Lost, match="ended by signal 9") as caught:
        session.run_steps(0, 1)
    assert caught.value.status == -signal.SIGKILL


def test_a_program_that_hangs_is_given_up(session: Session) -> None:
    session._channel.seconds = 0.3
    session._channel._process.send_signal(signal.SIGSTOP)
    with pytest.raises(DeviceError, match="no sign of life for 0 s"):
        session.outputs()
    session._channel._process.send_signal(signal.SIGCONT)


def shell(script: str) -> Channel:
    return Channel(["sh", "-c", script], "here", MODEL_SERVICE, seconds=5)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("true", "exit status 0"),
        ("echo unknown option >&2; exit 2", r"(?s)exit status 2.*unknown option"),
        ("yes | head -c 200000", "prints, and does not greet"),
        (rf"printf '{GREETING}' | tr '\2\1' '\3\2'", "offers service 2 in version 3"),
    ],
)
def test_what_does_not_greet(script: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        shell(script)


@pytest.mark.parametrize(
    "answer", [r"\001\000\001\000\377\377\377\377\377\377\377\377", r"\001\000\002\000" + 8 * r"\000"]
)
def test_what_answers_nonsense(answer: str) -> None:
    script = f"echo Welcome; printf '{GREETING}{answer}'; cat >/dev/null"
    with shell(script) as channel, pytest.raises(DeviceError, match="something else than the answer"):
        channel.ask(1, most_bytes=100)


def test_an_answer_before_the_request_was_read(artifact: Artifact) -> None:
    """A program that ends before it has read everything: its last words count."""
    said = r"\377\377\001\000\003\000\000\000\000\000\000\000bad"
    with shell(f"printf '{GREETING}{said}'; exec 0<&-; sleep 1") as channel, pytest.raises(Refused, match="bad"):
        channel.ask(2, bytes(1 << 22))


def test_large_requests_and_answers_do_not_wait_for_each_other() -> None:
    echo = (
        "import struct, sys\n"
        r"o, i = sys.stdout.buffer, sys.stdin.buffer; o.write(b'\x89ESM\r\n\x1a\n\x02\0\x01\0'); o.flush()" + "\n"
        "k, t, n = struct.unpack('<HHQ', i.read(12)); o.write(struct.pack('<HHQ', k, t, n))\n"
        "while n: d = i.read1(1 << 16); o.write(d); o.flush(); n -= len(d)\n"
    )
    data = os.urandom(1 << 22)
    with Channel([sys.executable, "-c", echo], "here", MODEL_SERVICE) as channel:
        assert channel.ask(6, data[:5], data[5:], most_bytes=len(data)) == data


@pytest.mark.parametrize("cut", [0, 3, 8, 20, 60])
def test_a_description_that_is_cut_off(artifact: Artifact, session: Session, cut: int) -> None:
    content = session._channel.ask(1, most_bytes=1 << 20)
    assert Description.from_bytes(content) == session.description
    for damaged in (content[:cut], content[:-1], content + b"\0", b"\xff" * len(content)):
        with pytest.raises(ValueError):
            Description.from_bytes(damaged)
