"""Connections: a real SSH server on the loopback interface, and what stands in for adb."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from devices import free_port
from edgesmith import api
from edgesmith.deploy import connect, deploy, roll_back
from edgesmith.device import load
from edgesmith.errors import BadInput, DeviceError
from edgesmith.target import parse
from foreign import missing_emulator
from small_networks import residual_network

pytestmark = pytest.mark.toolchain

HERE = parse("native")


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


def test_a_processor_that_is_not_emulated() -> None:
    if missing := missing_emulator("neon"):
        pytest.skip(missing)
    with pytest.raises(BadInput, match=r"qemu:z80: qemu-aarch64 emulates no 'z80'\n.*-cpu help"):
        connect("qemu:z80", parse("aarch64-linux-gnu"))
