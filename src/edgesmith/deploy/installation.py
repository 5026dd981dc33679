"""Installing an artifact on a device, so that at every moment a whole, tried version is the current one.

Below the folder of the artifact's name, ``versions/`` holds a folder for each version, named by the hash of its
manifest, ``current`` and ``previous`` are links to two of them, and ``incoming/`` holds what has arrived of the next.
A version is made current by renaming a link, after all of its files have their hashes and its self-test has passed on
the device. Interrupted anywhere, the same call goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgesmith.deploy.transport import Transport, quoted
from edgesmith.device.artifact import MANIFEST, Artifact, sha256
from edgesmith.errors import ArtifactError, DeviceError
from edgesmith.release import SIGNATURE
from edgesmith.target import parse

__all__ = ["Deployment", "deploy", "roll_back"]

Progress = Callable[[str, int, int], None]
ID_DIGITS = 16
SPARE_KILOBYTES = 64
AGAIN = "-again"
"""End of the name of a version that replaces a damaged copy of itself."""
TOOLS = "sha256sum mv ln cp df find readlink"
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
    progress: Progress = lambda stage, done, total: None,
) -> Deployment:
    """Install an artifact's executable and library on a device and make them the current version.

    Args:
        benchmark: time the program on the device afterwards.
        progress: told about each stage.

    Raises:
        ArtifactError: the artifact has no executable, or was changed since it was compiled.
        DeviceError: the device cannot be reached, lacks something, or the program fails there; the message names the
            stage, and the version that was current before still is.
    """
    artifact.check()
    if not artifact.executable.is_file():
        raise ArtifactError("has no executable", where=str(artifact.path))
    files = [artifact.executable, artifact.library, artifact.path / MANIFEST, artifact.path / SIGNATURE]
    wanted = {f: sha256(f) for f in files if f.is_file()}
    place = _Place(device, artifact.name, wanted[artifact.path / MANIFEST][:ID_DIGITS])
    with _stage("check the device"):
        place.check(parse(str(artifact.manifest["target"])).arch)
        before = place.link("current")
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
            place.switch(before)
    times = None
    if benchmark:
        with _stage("benchmark (the new version is current)"):
            progress("benchmark", 0, 1)
            times = _times(place.start(f"{place.base}/current/{artifact.name}", ["--bench", "--threads", str(threads)]))
            progress("benchmark", 1, 1)
    with _stage("ask for the versions"):
        current, previous = place.link("current"), place.link("previous")
    kept = sum(f.stat().st_size for f in wanted) - sent
    return Deployment(current, previous, sent, kept, times)


def roll_back(name: str, device: Transport) -> tuple[str, str]:
    """Make the version before the current one current again; gives both, the new current one first.

    Raises:
        DeviceError: there is none, or the device cannot be reached.
    """
    place = _Place(device, name, "")
    with _stage("roll back"):
        current, previous = place.link("current"), place.link("previous")
        if not previous:
            raise DeviceError(f"no version of {name} before the current one", where=device.name)
        place.point("previous", current)
        place.point("current", previous)
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

    def link(self, link: str) -> str:
        """The version that a link names; empty: there is no such link."""
        return self.device.run(f"readlink {self.base}/{link} || true").strip().rpartition("/")[2]

    def point(self, link: str, version: str) -> None:
        """Make a link name a version, in one step."""
        fresh = f"{self.base}/.{link}"
        self.device.run(f"rm -f {fresh} && ln -s versions/{version} {fresh} && mv -Tf {fresh} {self.base}/{link}")

    def hashes(self, *folders: str) -> dict[str, str]:
        """Hash of each file in some folders below the artifact's, by its path there."""
        files = " ".join(f"{folder}/*" for folder in folders)
        return self.device.hashes(self.base, files)

    def free_kilobytes(self) -> int:
        return int(self.device.run(f"df -Pk {self.incoming} | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4").strip())

    def start(self, program: str, arguments: Sequence[str]) -> str:
        return self.device.run(self.device.started(program, arguments))

    def switch(self, before: str) -> None:
        """What has arrived becomes the current version; the one before it stays, older ones go."""
        version = f"{self.base}/versions/{self.version}"
        self.device.run(f"rm -rf {version} && mv -T {self.incoming} {version}")
        if before:
            self.point("previous", before)
        self.point("current", self.version)
        others = " ".join(f"! -name {v}" for v in (self.version, before) if v)
        old = f"find {self.base}/versions -mindepth 1 -maxdepth 1 {others} -exec rm -rf {{}} +"
        self.device.run(f"{old}; rm -rf {self.base}/incoming")


def _holds(present: Mapping[str, str], folder: str, wanted: Mapping[Path, str]) -> bool:
    return all(present.get(f"{folder}/{f.name}") == digest for f, digest in wanted.items())


def _transfer(place: _Place, wanted: Mapping[Path, str], progress: Progress) -> int:
    """Bring files to ``incoming``, those that the device has by copying them there; gives the bytes sent."""
    arriving = f"incoming/{place.version}"
    with _stage("compare"):
        place.device.run(f"mkdir -p {place.base}/versions {place.incoming}")
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
