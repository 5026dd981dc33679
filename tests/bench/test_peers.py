"""The peers' files: what they promise, and environments that appear whole or not at all."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from edgesmith import knobs
from edgesmith.bench import virtualenv
from edgesmith.bench.installed import install
from edgesmith.bench.peers import ALL, Peer, known, select
from edgesmith.bench.worker import PeerFailed
from edgesmith.errors import BadInput


@pytest.mark.parametrize("peer", known().values(), ids=lambda p: p.name)
def test_file_keeps_its_promise(peer: Peer) -> None:
    """Nothing of Edgesmith, runtimes inside functions only, pinned packages."""
    tree = ast.parse(peer.file.read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert ("load" in functions) != bool(peer.unusable) and ("convert" in functions) == peer.converts
    for node in tree.body:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {n.split(".")[0] for n in names} <= {*sys.stdlib_module_names, "numpy"}
    for requirement in (*peer.packages, *peer.converter):
        assert requirement == virtualenv.ALONE or "==" in requirement


def test_selection() -> None:
    assert [p.name for p in select(["ncnn,mnn", "ncnn"])] == ["ncnn", "mnn"]
    assert select([ALL]) == tuple(known().values())
    assert select(["none"]) == ()
    with pytest.raises(BadInput, match="abacus"):
        select(["abacus"])


def test_environment_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(knobs.CACHE_DIR.name, str(tmp_path))
    calls: list[list[str]] = []
    monkeypatch.setattr(virtualenv, "_run", lambda command, what: calls.append(command))
    packages = ("a==1", virtualenv.ALONE, "b==2")
    python = virtualenv.python_with("peer", packages)
    assert [c[-1] for c in calls[1:]] == ["a==1", "b==2"]
    assert virtualenv.ALONE in calls[2] and virtualenv.ALONE not in calls[1]
    assert virtualenv.python_with("peer", packages) == python and len(calls) == 3
    assert virtualenv.python_with("peer", ("a==2",)) != python
    assert virtualenv.python_with("peer", ()) == Path(sys.executable)


def test_peer_that_cannot_be_installed_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(knobs.CACHE_DIR.name, str(tmp_path))

    def fail(command: list[str], what: str) -> None:
        if "pip" in command:
            raise PeerFailed("no wheel for this machine")

    monkeypatch.setattr(virtualenv, "_run", fail)
    peers = [Peer("good", tmp_path / "good.py"), Peer("bad", tmp_path / "bad.py", ("bad==1",))]
    peers.append(Peer("gone", tmp_path / "gone.py", unusable="crashes"))
    found = install(peers, lambda text: None)
    assert [p.name for p in found.peers] == ["good"]
    assert found.absent == {"bad": "no wheel for this machine", "gone": "crashes"}
    assert not list((tmp_path / "peers").iterdir())
