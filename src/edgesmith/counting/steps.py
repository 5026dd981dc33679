"""Counting the steps of a program, by what runs programs for its target here."""

from __future__ import annotations

from edgesmith.counting.board import count_on_board
from edgesmith.counting.counts import StepCounts
from edgesmith.counting.inference import Inference, count_inference
from edgesmith.counting.wasm import count_in_engine
from edgesmith.device import Artifact
from edgesmith.target.system import WASM

__all__ = ["count_steps"]


def count_steps(artifact: Artifact) -> Inference | StepCounts:
    """Executed instructions of one inference and of each step; those of microcontrollers and of WebAssembly alone have
    no blocks.

    Raises: as ``count_inference``, ``count_on_board`` and ``count_in_engine``.
    """
    if artifact.target.system.object_format == WASM:
        return count_in_engine(artifact)
    return count_on_board(artifact) if artifact.target.is_bare else count_inference(artifact)
