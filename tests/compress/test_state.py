"""State dicts in files."""

from __future__ import annotations

import errno
import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgesmith.compress.state import load_state, save_state, write_state
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    module, other = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    save_state(module, tmp_path / "state.pt")
    load_state(other, tmp_path / "state.pt")
    assert all(
        torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_checkpoints_of_training_scripts_are_read(tmp_path: Path, key: str) -> None:
    module, other = nn.Linear(3, 4), nn.Linear(3, 4)
    state = {f"module.{name}": value for name, value in module.state_dict().items()}
    torch.save({key: state, "epoch": 3}, tmp_path / "checkpoint.pt")
    load_state(other, tmp_path / "checkpoint.pt")
    assert torch.equal(module.weight, other.weight)


def test_names_of_wrappers_are_dropped_only_where_the_module_has_none(tmp_path: Path) -> None:
    wrapped, plain = nn.DataParallel(nn.Linear(3, 4)), nn.Linear(3, 4)
    save_state(wrapped, tmp_path / "state.pt")
    again = nn.DataParallel(nn.Linear(3, 4))
    load_state(again, tmp_path / "state.pt")
    load_state(plain, tmp_path / "state.pt")
    assert torch.equal(plain.weight, wrapped.module.weight)
    assert torch.equal(again.module.weight, wrapped.module.weight)
    torch.save({f"_orig_mod.module.{name}": value for name, value in plain.state_dict().items()}, tmp_path / "both.pt")
    load_state(nn.Linear(3, 4), tmp_path / "both.pt")


def test_files_that_are_no_state_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(BadInput, match="cannot be read"):
        load_state(nn.Linear(3, 4), path)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="it is empty"):
        load_state(nn.Linear(3, 4), path)
    path.write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"no state dict: torch\.save did not write it"):
        load_state(nn.Linear(3, 4), path)
    torch.save([1, 2], path)
    with pytest.raises(BadInput, match="holds no state dict, but list"):
        load_state(nn.Linear(3, 4), path)
    torch.save({"epoch": 3, "weights": nn.Linear(3, 4).state_dict()}, path)
    with pytest.raises(BadInput, match="a dict of epoch, weights"):
        load_state(nn.Linear(3, 4), path)


def test_whole_modules_are_refused_and_the_next_step_is_said(tmp_path: Path) -> None:
    path = tmp_path / "module.pt"
    torch.save(nn.Linear(3, 4), path)
    with pytest.raises(BadInput, match="a whole module") as refused:
        load_state(nn.Linear(3, 4), path)
    assert "weights_only=False" in refused.value.hint and "\x1b" not in str(refused.value)


def test_how_another_network_differs_is_said(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(nn.Linear(5, 4), path)
    with pytest.raises(BadInput, match=r"of another network: 1 of another shape, such as weight \(4, 5\) instead of"):
        load_state(nn.Linear(3, 4), path)
    save_state(nn.Sequential(nn.Linear(3, 4, bias=False)), path)
    with pytest.raises(BadInput, match=r"2 not in the file, such as weight; 1 not in the network, such as 0\.weight$"):
        load_state(nn.Linear(3, 4), path)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "state.pt"
    path.write_bytes(pickle.dumps({"weight": Evil()}))
    with pytest.raises(BadInput):
        load_state(nn.Linear(3, 4), path)
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > 1 << 16:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    @contextmanager
    def replacing(path: Path) -> Iterator[Full]:
        yield Full()

    monkeypatch.setattr("edgesmith.compress.state.replacing_file", replacing)
    with pytest.raises(OSError, match="No space left") as full:
        write_state({"weight": torch.zeros(1 << 15)}, tmp_path / "state.pt")
    assert full.value.errno == errno.ENOSPC and full.value.filename == str(tmp_path / "state.pt")
