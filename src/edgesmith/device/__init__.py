"""Running artifacts: in this process, or by their executables on another device."""

from edgesmith.device.artifact import Artifact, load
from edgesmith.device.device import Device
from edgesmith.device.emulator import Emulator, emulated, runnable, runnable_variant
from edgesmith.device.instance import Instance
from edgesmith.device.local import Context, Program

__all__ = [
    "Artifact",
    "Context",
    "Device",
    "Emulator",
    "Instance",
    "Program",
    "emulated",
    "load",
    "runnable",
    "runnable_variant",
]
