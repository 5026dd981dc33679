"""Where artifacts run beside this process: a device starts their executables."""

from __future__ import annotations

import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgesmith.device.artifact import Artifact
from edgesmith.device.instance import Instance
from edgesmith.device.local import arranged
from edgesmith.errors import ArtifactError

__all__ = ["Device", "finished"]

LAST_LINES = 5


def finished(
    command: Sequence[str], device: str, program: Path, seconds: float, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """A command of this machine that runs a program, when it has ended.

    Args:
        device: what it runs on, for messages.
        seconds: after which it counts as hung, and is killed.
        stderr: as of ``subprocess.run``.

    Raises:
        ArtifactError: it cannot be started, or hangs.
    """
    try:
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, errors="replace", timeout=seconds
        )
    except OSError as error:
        raise ArtifactError(f"cannot start {command[0]}: {error}", where=str(program)) from error
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"ran longer than {seconds:g} s on {device}", where=str(program)) from error


class Device(ABC):
    """A machine that starts programs."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For messages."""

    @abstractmethod
    def start(self, program: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program to its end.

        Raises:
            ArtifactError: it cannot be started.
        """

    def open(self, artifact: Artifact, threads: int = 1) -> Instance | None:
        """The program, started to be run step by step; None: programs on this device cannot be.

        Raises:
            ArtifactError: it has no executable, or another one than the artifact says.
            DeviceError: it cannot be started or does not answer.
        """
        return None

    def chosen(self, artifact: Artifact) -> Artifact:
        """The artifact as it runs here: of several variants that which was asked for, else the one that it picks.

        Raises:
            ArtifactError, DeviceError: as ``open``.
        """
        if artifact.words or not artifact.variants:
            return artifact
        instance = self.open(artifact)
        if instance is None:
            return artifact
        with instance:
            return artifact.with_variant(instance.variant)

    def selftest(self, artifact: Artifact) -> str:
        """Run the self-test of an artifact's executable and return what it printed.

        Raises:
            ArtifactError: it failed; the message is what the program said last.
        """
        return self._run(artifact, ["--selftest"])

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One inference.

        Args:
            inputs: by name, of the shapes and dtypes that the model takes.

        Raises:
            BadInput: they do not fit.
            ArtifactError: the program failed.
            DeviceError: the device is out of reach.
        """
        arrays = arranged(artifact.inputs, (), inputs)
        artifact = self.chosen(artifact)
        instance = self.open(artifact)
        if instance is None:
            return self._run_on_files(artifact, arrays)
        with instance:
            instance.bind(arrays)
            instance.run_steps(0, len(artifact.manifest["steps"]))
            return dict(zip(artifact.outputs, instance.outputs(), strict=True))

    def _run_on_files(self, artifact: Artifact, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            files = []
            for i, array in enumerate(inputs):
                files.append(Path(folder) / f"input_{i}")
                files[-1].write_bytes(array.tobytes())
            results = [Path(folder) / f"output_{i}" for i in range(len(artifact.outputs))]
            self._run(artifact, ["--run", *map(str, (*files, *results))])
            return {
                name: np.frombuffer(file.read_bytes(), type.dtype.numpy).reshape(type.shape)
                for file, (name, type) in zip(results, artifact.outputs.items(), strict=True)
            }

    def _run(self, artifact: Artifact, arguments: Sequence[str]) -> str:
        done = self.start(artifact.executable.absolute(), [*arguments, *artifact.words])
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
            raise ArtifactError(
                f"exit status {done.returncode} on {self.name}\n{said}".strip(), where=str(artifact.executable)
            )
        return done.stdout
