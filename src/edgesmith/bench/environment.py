"""Where and with what something was measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgesmith.target import this_processor

__all__ = ["available_cores", "environment", "processor", "versions"]

PACKAGES = ("edgesmith", "onnx", "onnxruntime", "numpy", "ziglang")


def processor() -> str:
    """The processor's name with family, model and stepping where the system tells them."""
    return str(this_processor())


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Installed versions of what takes part in a measurement; ``missing`` for those that are not installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def environment() -> dict[str, Any]:
    """Machine, load and versions at this moment."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": processor(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.release()}",
        "load": None if load is None else round(load, 2),
        "versions": versions(),
    }
