"""The C sources of an artifact, as other compilers get them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesmith.codegen.package import PROGRAM
from edgesmith.device import Artifact
from edgesmith.target import Target

__all__ = ["Sources", "no_sources"]


def no_sources(target: Target, several: bool) -> tuple[str, str] | None:
    """Why forms that consist of C sources cannot be made; see ``Form.refusal``."""
    if several:
        hint = "compile the model without --isa, with --target such as native+avx2 or portable"
        return "it has several variants, and C files are for one instruction set", hint
    if target.is_bare:
        return "there is no operating system", "the folder src/ of the artifact is what a firmware project takes"
    return None


@dataclass(frozen=True)
class Sources:
    """Files of the folder ``src`` by what they are for.

    Args:
        name: of the model.
        folder: where they lie.
        kernels: C files of kernels.
    """

    name: str
    folder: Path
    kernels: tuple[str, ...]

    @classmethod
    def of(cls, artifact: Artifact) -> Sources:
        folder = artifact.path / "src"
        return cls(artifact.name, folder, tuple(sorted(p.name for p in folder.glob("kernels_*.c"))))

    @property
    def library(self) -> tuple[str, ...]:
        """C files of the libraries."""
        return (f"{self.name}.c", *self.kernels, self.pool, "weights.c")

    @property
    def pool(self) -> str:
        """The C file of the thread pool; where there are no threads, it has another name."""
        return next(p.name for p in sorted(self.folder.glob("es_pool*.c")))

    @property
    def program(self) -> tuple[str, ...]:
        """C files of the executable."""
        return tuple(f for f in PROGRAM if f.endswith(".c"))

    @property
    def headers(self) -> tuple[str, ...]:
        return tuple(sorted(p.name for p in self.folder.glob("*.h")))

    def text(self, file: str) -> str:
        return (self.folder / file).read_text()
