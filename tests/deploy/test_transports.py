"""Connections: a real SSH server on the loopback interface, and what stands in for adb."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from devices import free_port
from edgesmith import api
from edgesmith.deploy import commands, connect, deploy, roll_back
from edgesmith.deploy.transports.local import Local
from edgesmith.device import load
from edgesmith.errors import BadInput, DeviceError, Unreachable
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


def test_a_system_of_busybox_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Shell and tools are BusyBox's, as on small routers and boards."""
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("BusyBox is not installed")
    tools = tmp_path / "bin"
    tools.mkdir()
    subprocess.run([busybox, "--install", "-s", tools], check=True)

    class OfBusybox(Local):
        def command(self, script: str) -> list[str]:
            return ["env", "-i", f"PATH={tools}", f"{tools}/sh", "-c", script]

    first, second = (load(path) for path in built)
    device = OfBusybox(str(tmp_path / "device"))
    done = deploy(first, device, benchmark=False)
    again = deploy(second, device, benchmark=False)
    assert again.previous == done.version and again.kept_bytes >= 0
    assert roll_back("net", device) == (done.version, again.version)
    current = tmp_path / "device" / "net" / "current"
    assert (current / "manifest.json").read_bytes() == (first.path / "manifest.json").read_bytes()


def test_emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = missing_emulator("neon")
    if missing:
        pytest.skip(missing)
    monkeypatch.chdir(tmp_path)
    target = "aarch64-linux-gnu"
    artifact = api.compile(residual_network(), output="out", name="net", target=target, verify=False, cache=False)
    with connect("qemu:cortex-a53", parse(target)) as device:
        assert deploy(artifact, device).times_ms is None
        assert "cortex-a53" in device.name


@pytest.mark.parametrize(
    "address",
    [
        *("pi@host", "http://host", "ssh://", "ssh://host:port", "ssh://-oProxyCommand=x", "", "local://tmp/x"),
        *("local:/d?x", "ssh://host/d#x", "ssh://pi:secret@host"),
    ],
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


@pytest.mark.parametrize(
    ("address", "host", "port", "root"),
    [
        ("ssh://Pi@MyPi", "Pi@MyPi", None, "edgesmith"),
        ("ssh://host:2222/opt/models", "host", "2222", "/opt/models"),
        ("ssh://pi@[fe80::1]:22/~/models", "pi@fe80::1", "22", "~/models"),
    ],
)
def test_what_an_address_of_ssh_says(address: str, host: str, port: str | None, root: str) -> None:
    with connect(address, HERE) as device:
        *options, end, reached, script = device.command("true")
        assert (end, reached, script, device.root) == ("--", host, "true", root)
        assert (options[options.index("-p") + 1] if "-p" in options else None) == port


@pytest.mark.parametrize(
    ("machine", "arch", "fits"),
    [
        ("aarch64\n64", "aarch64", True),
        ("aarch64\n32", "aarch64", False),
        ("aarch64\n32", "arm", True),
        ("aarch64\n64", "arm", True),
        ("aarch64", "aarch64", True),
        ("armv8l\n32", "aarch64", False),
        ("armv7l\n32", "arm", True),
        ("x86_64\n32", "x86_64", False),
        ("riscv64\n64", "riscv64", True),
    ],
)
def test_which_programs_a_machine_runs(machine: str, arch: str, fits: bool) -> None:
    """A system of 32 bits may run on a processor of 64, as on Raspberry Pi OS."""

    class Machine(Local):
        def shell(self, script: str, *, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess([], 0, f"{machine}\n", "")

    with nullcontext() if fits else pytest.raises(DeviceError, match="the programs are for"):
        Machine("").check_machine(arch)


class Talkative(Local):
    """A shell whose start-up files print."""

    def command(self, script: str) -> list[str]:
        return ["sh", "-c", f"echo Welcome; echo to pi\n{script}"]


def test_what_the_shell_says_at_its_start_is_no_answer(built: tuple[Path, Path], tmp_path: Path) -> None:
    device = Talkative(str(tmp_path / "device"))
    assert device.run("echo this; echo that") == "this\nthat\n"
    deploy(load(built[0]), device, benchmark=False)

    class Menu(Local):
        def command(self, script: str) -> list[str]:
            return ["echo", "1) Restart  2) Log out"]

    with pytest.raises(DeviceError, match="runs no commands, but says"):
        Menu("").run("true")


def test_a_device_that_does_not_stop_talking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MOST_BYTES", 1 << 20)
    with pytest.raises(DeviceError, match="printed more than 1 MiB"):
        Local("").run("yes")


def test_a_device_that_falls_silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(commands, "QUIET_SECONDS", 2.0)
    monkeypatch.setattr(commands, "POLL_SECONDS", 0.1)
    with pytest.raises(Unreachable, match="no sign of life for 2 s"):
        Local("").run("sleep 100")
    # Silence is counted from the last byte, in either direction.
    assert Local("").run("for i in 1 2 3 4; do sleep 0.7; echo $i; done").split() == ["1", "2", "3", "4"]


def test_a_file_larger_than_what_pipes_hold(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 4096)
    device = Local(str(tmp_path))
    device.push(large, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()
    # Nobody reads it.
    device.run("exit 0", stdin=large)
