"""Connections: a real SSH server on the loopback interface, and what stands in for adb."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgesmith import api
from edgesmith.deploy import connect, deploy, roll_back
from edgesmith.device import load
from edgesmith.errors import BadInput, DeviceError
from edgesmith.target import parse
from foreign import missing_emulator
from small_networks import residual_network

pytestmark = pytest.mark.toolchain

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
HERE = parse("native")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Port of an SSH server that lets this user in by a key of its own."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH is not installed (apt install openssh-server)")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    port = free_port()
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (tmp_path / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {tmp_path}/host\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {tmp_path}/user.pub\nPasswordAuthentication no\nPermitRootLogin yes\nUsePAM no\n"
    )
    options = f"-F none -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR -i {tmp_path}/user"
    program(tmp_path / "bin", "ssh", f'exec {shutil.which("ssh")} {options} "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def test_ssh(server: int, built: tuple[Path, Path], tmp_path: Path) -> None:
    address = f"ssh://{getpass.getuser()}@127.0.0.1:{server}{tmp_path}/a%20folder"
    with connect(address, HERE) as device:
        done = deploy(load(built[0]), device)
        assert done.times_ms
        deploy(load(built[1]), device, benchmark=False)
        assert roll_back("net", device)[0] == done.version
    assert (tmp_path / "a folder" / "net" / "current" / "libnet.so").is_file()


def test_ssh_says_what_is_wrong(server: int, tmp_path: Path) -> None:
    nobody = f"ssh://{getpass.getuser()}@127.0.0.1:{free_port()}"
    with connect(nobody, HERE) as device, pytest.raises(DeviceError, match="refused"):
        device.run("true")
    (tmp_path / "user").unlink()
    address = f"ssh://{getpass.getuser()}@127.0.0.1:{server}"
    with connect(address, HERE) as device, pytest.raises(DeviceError, match=r"(?s)denied.*Try: ssh"):
        device.run("true")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``adb`` for a device that is this machine."""
    script = (
        'test "$1 $2" = "-s 0123" || { echo "error: device \'$2\' not found" >&2; exit 1; }; shift 2; '
        'case "$1" in shell) shift; exec sh -c "$*";; push) exec cp "$2" "$3";; esac'
    )
    program(tmp_path / "bin", "adb", script)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


def test_adb(stand_in: None, built: tuple[Path, Path], tmp_path: Path) -> None:
    with connect(f"adb://0123{tmp_path}/the%20device", HERE) as device:
        deploy(load(built[0]), device)
    assert (tmp_path / "the device" / "net" / "current" / "net").is_file()
    with connect("adb://4567", HERE) as device, pytest.raises(DeviceError, match="not found"):
        device.run("true")


def test_emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = missing_emulator("neon")
    if missing:
        pytest.skip(missing)
    monkeypatch.chdir(tmp_path)
    target = "aarch64-linux-gnu"
    artifact = api.compile(residual_network(), output="out", name="net", target=target, verify=False, cache=False)
    with connect("qemu:cortex-a53", parse(target)) as device:
        assert deploy(artifact, device).times_ms
        assert "cortex-a53" in device.name


@pytest.mark.parametrize(
    "address", ["pi@host", "http://host", "ssh://", "ssh://host:port", "ssh://-oProxyCommand=x", ""]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(BadInput):
        connect(address, HERE)


def test_tools_that_are_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for address in ("ssh://host", "adb://0123"):
        with pytest.raises(DeviceError, match="is not installed"), connect(address, HERE) as device:
            device.run("true")
