"""Installing an artifact on a device, so that at every moment a whole, tried version is the current one.

Below the folder of the artifact's name, ``versions/`` holds a folder for each version, named by the hash of its
manifest, ``current`` is a link to one of them, and ``incoming/`` holds what has arrived of the next. Each version keeps
the name of the one before it. So renaming one link makes a version current and another one the previous, after all of
its files have their hashes and its self-test has passed on the device. Interrupted anywhere, the same call goes on
where it was; two calls at once take turns at the link.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgesmith.deploy.transport import Transport, quoted
from edgesmith.device.artifact import MANIFEST, Artifact, sha256
from edgesmith.device.local import checked_threads
from edgesmith.errors import ArtifactError, DeviceError
from edgesmith.release import SIGNATURE
from edgesmith.target import parse

__all__ = ["Deployment", "deploy", "roll_back"]

Progress = Callable[[str, int, int], None]
ID_DIGITS = 16
SPARE_KILOBYTES = 64
AGAIN = "-again"
"""End of the name of a version that replaces a damaged copy of itself."""
BEFORE = ".before"
"""File of a version with the name of the one before it."""
TOOLS = "sha256sum mv ln cp df find readlink sync"
IN_TURN = "$(command -v flock >/dev/null && echo flock .lock)"
_FREE = re.compile(r"\s\d+\s+\d+\s+(\d+)\s+\d+%")
"""Of a line of ``df -P``."""
_TIMES = re.compile(r"median_ms ([\d.]+) min_ms ([\d.]+) p95_ms ([\d.]+) runs (\d+) threads (\d+)")


@dataclass(frozen=True)
class Deployment:
    """What installing did.

    Args:
        version: the version that is current now.
        previous: the one that ``roll_back`` makes current again; empty: none.
        sent_bytes, kept_bytes: of the files that were sent, and of those that the device had.
        times_ms: median, minimum and 95th percentile of a run on the device; None: not measured.
    """

    version: str
    previous: str
    sent_bytes: int
    kept_bytes: int
    times_ms: tuple[float, float, float] | None = None


def deploy(
    artifact: Artifact,
    device: Transport,
    *,
    benchmark: bool = True,
    threads: int = 1,
    manifest: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Deployment:
    """Install an artifact's executable and library on a device and make them the current version.

    Args:
        benchmark: time the program on the device afterwards, unless it is an emulator.
        manifest: SHA-256 of the manifest, where somebody has checked it (``release.check_signature``).
        progress: told about each stage.

    Raises:
        ArtifactError: the artifact has no executable, or was changed since it was compiled.
        DeviceError: the device cannot be reached, lacks something, or the program fails there; the message names the
            stage, and the version that was current before still is.
    """
    checked_threads(threads)
    artifact.check()
    if not artifact.executable.is_file():
        raise ArtifactError("has no executable", where=str(artifact.path))
    wanted = {f: artifact.digest(f.name) for f in (artifact.executable, artifact.library) if f.is_file()}
    wanted |= {f: sha256(f) for f in (artifact.path / MANIFEST, artifact.path / SIGNATURE) if f.is_file()}
    if manifest and wanted[artifact.path / MANIFEST] != manifest:
        raise ArtifactError("was changed after its signature had been checked", where=str(artifact.path))
    place = _Place(device, artifact.name, wanted[artifact.path / MANIFEST][:ID_DIGITS])
    with _stage("check the device"):
        place.check(parse(str(artifact.manifest["target"])).arch)
        before, _ = place.versions()
        whole = _holds(place.hashes("current"), "current", wanted)
    sent = 0
    if not (whole and before.startswith(place.version)):
        if before == place.version:
            place.version += AGAIN
        sent = _transfer(place, wanted, progress)
        with _stage("try the program"):
            progress("self-test", 0, 1)
            place.start(f"{place.incoming}/{artifact.name}", ["--selftest"])
            progress("self-test", 1, 1)
        with _stage("switch"):
            place.switch()
    times = None
    if benchmark and device.tells_time:
        with _stage("benchmark (the new version is current)"):
            progress("benchmark", 0, 1)
            times = _times(place.start(f"{place.base}/current/{artifact.name}", ["--bench", "--threads", str(threads)]))
            progress("benchmark", 1, 1)
    with _stage("ask for the versions"):
        current, previous = place.versions()
    kept = sum(f.stat().st_size for f in wanted) - sent
    return Deployment(current, previous, sent, kept, times)


def roll_back(name: str, device: Transport) -> tuple[str, str]:
    """Make the version before the current one current again; gives both, the new current one first.

    Raises:
        DeviceError: there is none, it is damaged or fails there, or the device cannot be reached; the current version
            then stays current.
    """
    place = _Place(device, name, "")
    with _stage("roll back"):
        current, previous = place.versions()
        if not previous:
            raise DeviceError(f"no version of {name} before the current one", where=device.name)
        place.require_whole(previous)
        place.start(f"{place.base}/versions/{previous}/{name}", ["--selftest"])
        place.exchange(current, previous)
    return previous, current


class _Place:
    """The folder of an artifact on a device, in the words of its shell."""

    def __init__(self, device: Transport, name: str, version: str) -> None:
        self.device, self.name, self.version = device, name, version
        self.base = f"{quoted(device.root.rstrip('/'))}/{name}"

    @property
    def incoming(self) -> str:
        return f"{self.base}/incoming/{self.version}"

    def check(self, arch: str) -> None:
        """Check that the device can take programs for an architecture."""
        self.device.check_machine(arch)
        missing = self.device.run(f"for t in {TOOLS}; do command -v $t >/dev/null || echo $t; done").split()
        if missing:
            raise DeviceError(f"lacks {', '.join(missing)}", where=self.device.name)

    def versions(self) -> tuple[str, str]:
        """The current version and the one before it; empty: there is none."""
        lines = self.device.run(
            f"cd {self.base} 2>/dev/null || exit 0; readlink current || echo; cat current/{BEFORE} 2>/dev/null || true"
        ).splitlines()
        current, previous = [*(line.rpartition("/")[2] for line in lines), "", ""][:2]
        return current, previous

    def hashes(self, *folders: str) -> dict[str, str]:
        """Hash of each file in some folders below the artifact's, by its path there."""
        files = " ".join(f"{folder}/*" for folder in folders)
        return self.device.hashes(self.base, files)

    def free_kilobytes(self) -> int:
        said = self.device.run(f"df -Pk {self.incoming}")
        found = _FREE.search(said)
        if not found:
            raise DeviceError(f"df says {said.strip()!r}", where=self.device.name)
        return int(found[1])

    def start(self, program: str, arguments: Sequence[str]) -> str:
        return self.device.run(self.device.started(program, arguments))

    def switch(self) -> None:
        """What has arrived becomes the current version; the one before it stays, others go."""
        version = f"versions/{self.version}"
        same = self.version.removesuffix(AGAIN)
        self._in_turn(
            "before=$(readlink current || true); before=${before##*/}",
            # A damaged copy of the same version is nothing to go back to.
            f'case "$before" in {same}*) before=$(cat "versions/$before/{BEFORE}" 2>/dev/null || true) ;; esac',
            f"rm -rf {version}",
            f"mv -T incoming/{self.version} {version}",
            f'printf %s "$before" > {version}/{BEFORE}',
            *self._pointing(self.version),
            f'find versions -mindepth 1 -maxdepth 1 ! -name {self.version} ! -name "$before" -exec rm -rf {{}} +',
            "find incoming -mindepth 1 -maxdepth 1 -mtime +0 -exec rm -rf {} +",
            "rmdir incoming 2>/dev/null || true",
        )

    def exchange(self, current: str, previous: str) -> None:
        """The previous version becomes the current one, and the other way round."""
        self._in_turn(
            f'[ "$(readlink current)" = versions/{current} ] || {{ echo another version is current; exit 1; }}',
            f"printf %s {current} > versions/{previous}/{BEFORE}",
            *self._pointing(previous),
        )

    def require_whole(self, version: str) -> None:
        """Raise ``DeviceError`` where a version's files are not those of its manifest, or that is not its own."""
        folder = f"versions/{version}"
        present = {name.rpartition("/")[2]: digest for name, digest in self.hashes(folder).items()}
        if not present.get(MANIFEST, "").startswith(version.removesuffix(AGAIN)):
            raise DeviceError(f"version {version} is damaged: {MANIFEST}", where=self.device.name)
        manifest = json.loads(self.device.run(f"cat {self.base}/{folder}/{MANIFEST}"))
        for file in {self.name, *present} - {MANIFEST, SIGNATURE}:
            if present.get(file) != manifest["files"].get(file):
                raise DeviceError(f"version {version} is damaged: {file}", where=self.device.name)

    def _pointing(self, version: str) -> tuple[str, ...]:
        """Steps of a script that make a version current, on a device that may lose its power."""
        return "sync", "rm -f .current", f"ln -s versions/{version} .current", "mv -Tf .current current", "sync"

    def _in_turn(self, *steps: str) -> None:
        """Run a script in the artifact's folder, alone there if the device has locks, up to a step that fails."""
        script = "\n".join(("set -e", *steps))
        self.device.run(f"cd {self.base} && {IN_TURN} sh -c {shlex.quote(script)}")


def _holds(present: Mapping[str, str], folder: str, wanted: Mapping[Path, str]) -> bool:
    return all(present.get(f"{folder}/{f.name}") == digest for f, digest in wanted.items())


def _transfer(place: _Place, wanted: Mapping[Path, str], progress: Progress) -> int:
    """Bring files to ``incoming``, those that the device has by copying them there; gives the bytes sent."""
    arriving = f"incoming/{place.version}"
    with _stage("compare"):
        place.device.run(f"mkdir -p {place.base}/versions && mkdir -p {place.incoming}")
        present = place.hashes(arriving)
        there = {digest: name for name, digest in place.hashes("versions/*").items()}
        missing = {f: digest for f, digest in wanted.items() if present.get(f"{arriving}/{f.name}") != digest}
        needed = sum(f.stat().st_size for f in missing) // 1024 + SPARE_KILOBYTES
        free = place.free_kilobytes()
        if needed > free:
            raise DeviceError(f"{free} KiB are free, {needed} are needed", where=place.device.name)
    sent = 0
    for i, (file, digest) in enumerate(missing.items()):
        progress("send", i, len(missing))
        if digest in there:
            with _stage(f"copy {file.name}"):
                place.device.run(f"cp {place.base}/{there[digest]} {place.incoming}/{file.name}")
        else:
            with _stage(f"send {file.name}"):
                place.device.push(file, f"{place.incoming}/{file.name}")
            sent += file.stat().st_size
    progress("send", len(missing), len(missing))
    with _stage("check"):
        found = place.hashes(arriving)
        for file, digest in wanted.items():
            if found.get(f"{arriving}/{file.name}") != digest:
                raise DeviceError(
                    f"{file.name} did not arrive whole",
                    where=place.device.name,
                    hint="The same command sends it again.",
                )
        place.device.run(f"chmod 755 {place.incoming}/{place.name}")
    return sent


def _times(text: str) -> tuple[float, float, float]:
    found = _TIMES.search(text)
    if not found:
        raise DeviceError(f"the benchmark printed {text.strip()!r}")
    median, least, high = (float(found[i]) for i in (1, 2, 3))
    return median, least, high


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Errors of the device name the stage."""
    try:
        yield
    except DeviceError as error:
        raise DeviceError(f"{name}: {error.why}", where=error.where, hint=error.hint) from error
