"""A Python wheel: the shared library behind a class that takes numpy arrays.

The format: https://packaging.python.org/specifications/binary-distribution-format/.
"""

from __future__ import annotations

import base64
import hashlib
import keyword
import sys
from importlib import resources
from pathlib import Path

from edgesmith.device import Artifact
from edgesmith.errors import ArtifactError
from edgesmith.ir import TensorType
from edgesmith.packaging.archive import write_archive
from edgesmith.packaging.form import form
from edgesmith.packaging.platform_tag import no_platform, platform_tag
from edgesmith.target import ISAS, Target, baseline_of
from edgesmith.version import __version__

__all__ = ["module_name"]

NUMPY = "1.23"
"""The oldest one with the typing that the module uses."""
PYTHON = "3.10"


def module_name(name: str) -> str:
    """The name of a model as a module that can be imported and hides none that others import."""
    taken = keyword.iskeyword(name) or name in sys.stdlib_module_names or name in ("numpy", "edgesmith")
    return f"net_{name}" if taken else name


@form("wheel", no_platform)
def wheel(artifact: Artifact, version: str, folder: Path) -> Path:
    """``<name>-<version>-py3-none-<platform>.whl``, which needs numpy and nothing else."""
    if not artifact.library.is_file():
        raise ArtifactError(
            "has no shared library", where=str(artifact.path), hint="compile the model with --emit shared,wheel"
        )
    module = module_name(artifact.name)
    tag = f"py3-none-{platform_tag(artifact)}"
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": _module(artifact, module, version).encode(),
        f"{module}/py.typed": b"",
        f"{module}/{artifact.library.name}": artifact.library.read_bytes(),
        f"{info}/METADATA": _metadata(artifact, module, version).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: edgesmith {__version__}\nRoot-Is-Purelib: false\n"
        f"Tag: {tag}\n".encode(),
    }
    record = f"{info}/RECORD"
    rows = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()]
    files[record] = "".join([*rows, f"{record},,\n"]).encode()
    path = folder / f"{module}-{version}-{tag}.whl"
    write_archive(path, files)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _module(artifact: Artifact, module: str, version: str) -> str:
    """The module's text: the template with the constants of this model."""
    text = (resources.files("edgesmith.packaging") / "templates" / "model.py").read_text()
    constants = {
        "__version__": version,
        "_LIBRARY": artifact.library.name,
        "_PREFIX": artifact.name,
        "_TARGET": str(_least(artifact)),
        "_FLAGS: tuple[str, ...]": _flags(artifact),
        "_THREADS": artifact.threads,
    }
    for name, value in constants.items():
        before, found, after = text.partition(f"\n{name} = ")
        assert found, name
        text = f"{before}{found}{value!r}\n{after.partition(chr(10))[2]}"
    return text.replace("@MODULE@", module).replace("@SIGNATURE@", _signature(artifact))


def _signature(artifact: Artifact) -> str:
    """Inputs and outputs as lines of documentation."""
    rows = [f"input {n!r}: {t}" for n, t in artifact.inputs.items()]
    rows += [f"output {n!r}: {t}" for n, t in artifact.outputs.items()]
    return "\n    ".join(row.encode("unicode_escape").decode().replace('"', "'") for row in rows)


def _least(artifact: Artifact) -> Target:
    """What every machine that the library runs on has."""
    return baseline_of(artifact.target) if artifact.variants else artifact.target


def _flags(artifact: Artifact) -> tuple[str, ...]:
    """What the processor must have, in the words of Linux; what the program asks for by itself aside."""
    isas = [ISAS[i] for i in _least(artifact).isas if ISAS[i].permission is None]
    return tuple(dict.fromkeys(flag for isa in isas for flag in isa.cpuinfo))


def _metadata(artifact: Artifact, module: str, version: str) -> str:
    return f"""Metadata-Version: 2.1
Name: {module}
Version: {version}
Summary: A neural network compiled for {_least(artifact)} by Edgesmith
Requires-Python: >={PYTHON}
Requires-Dist: numpy>={NUMPY}
Description-Content-Type: text/markdown

```python
import numpy as np
import {module}

model = {module}.Model(threads={artifact.threads})
inputs = {{name: np.zeros(t.shape, t.dtype) for name, t in model.inputs.items()}}
outputs = model.run(**inputs)
```

{_table("input", artifact.inputs)}

{_table("output", artifact.outputs)}
"""


def _table(title: str, tensors: dict[str, TensorType]) -> str:
    rows = [f"| {name!r} | {type} |" for name, type in tensors.items()]
    return "\n".join((f"| {title} | type |", "|---|---|", *rows)).encode("ascii", "backslashreplace").decode()
