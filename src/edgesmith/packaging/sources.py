"""The C sources of an artifact, as other compilers get them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesmith.codegen.package import PROGRAM
from edgesmith.device import Artifact
from edgesmith.errors import ArtifactError

__all__ = ["Sources"]


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
    def of(cls, artifact: Artifact, form: str) -> Sources:
        """Raises ``ArtifactError``: there are several variants, or no system that the form is for."""
        if artifact.variants:
            raise ArtifactError(
                f"holds several variants; {form} is for one instruction set",
                where=str(artifact.path),
                hint="compile the model without --isa, with --target such as native+avx2 or portable",
            )
        if artifact.target.is_bare:
            raise ArtifactError(
                f"is for a system without an operating system; {form} is for programs with one",
                where=str(artifact.path),
                hint="its folder src/ is what a firmware project takes",
            )
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
