"""The peers whose environments stand, and why the others are absent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgesmith.bench.peers import Peer
from edgesmith.bench.virtualenv import python_with
from edgesmith.bench.worker import PeerFailed, Worker

__all__ = ["Installed", "Say", "install", "reason"]

Say = Callable[[str], None]
"""Told what begins."""


@dataclass
class Installed:
    """Peers and their interpreters.

    Args:
        peers: those that can run.
        absent: name to reason.
    """

    peers: list[Peer] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    _runs: dict[str, Path] = field(default_factory=dict)
    _converts: dict[str, Path] = field(default_factory=dict)

    def add(self, peer: Peer) -> None:
        """Make the peer's environments where they are missing.

        Raises:
            PeerFailed: they cannot be made.
        """
        self._runs[peer.name] = python_with(peer.name, peer.packages)
        self._converts[peer.name] = (
            python_with(f"{peer.name}-converter", peer.converter) if peer.converter else self._runs[peer.name]
        )
        self.peers.append(peer)

    def worker(self, peer: Peer) -> Worker:
        """A process in which the peer runs."""
        return Worker(self._runs[peer.name], peer.file, peer.name)

    def converter(self, peer: Peer) -> Worker:
        """A process in which models are converted for the peer."""
        return Worker(self._converts[peer.name], peer.file, peer.name)


def install(peers: Sequence[Peer], say: Say) -> Installed:
    """Environments for the peers; one that cannot be had is absent, with the reason."""
    found = Installed()
    for peer in peers:
        if peer.unusable:
            found.absent[peer.name] = peer.unusable
            continue
        say(f"environment of {peer.name}")
        try:
            found.add(peer)
        except PeerFailed as error:
            found.absent[peer.name] = reason(error)
    return found


def reason(error: PeerFailed) -> str:
    """The message on one line, without the peer's name."""
    return " ".join(error.why.split())
