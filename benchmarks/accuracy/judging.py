"""What a network decides from its outputs, and when two of them decide the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

Outputs = Mapping[str, np.ndarray]
"""The outputs of one sample, by name in the model's order."""


class Judgement(Protocol):
    """Turns outputs into a decision."""

    def decide(self, outputs: Outputs) -> Any: ...

    def same(self, one: Any, other: Any) -> bool: ...


class Classes:
    """The class with the highest score."""

    def decide(self, outputs: Outputs) -> int:
        (scores,) = outputs.values()
        return int(scores.argmax())

    def same(self, one: int, other: int) -> bool:
        return one == other


class Faces:
    """Boxes (N, 4) around faces: those likely enough, the likeliest of those that overlap.

    Args:
        likely: least score of a face.
        overlap: largest intersection over union of two faces.
        match: least intersection over union of boxes around the same face.
    """

    def __init__(self, likely: float = 0.7, overlap: float = 0.3, match: float = 0.5) -> None:
        self.likely, self.overlap, self.match = likely, overlap, match

    def decide(self, outputs: Outputs) -> np.ndarray:
        scores, boxes = outputs["scores"].reshape(-1, 2)[:, 1], outputs["boxes"].reshape(-1, 4)
        found: list[np.ndarray] = []
        for i in np.argsort(-scores, kind="stable"):
            if scores[i] <= self.likely:
                break
            if not found or intersection_over_union(boxes[i], np.array(found)).max() < self.overlap:
                found.append(boxes[i])
        return np.array(found).reshape(-1, 4)

    def same(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether there are as many boxes, each with one of the other's to itself."""
        if len(one) != len(other):
            return False
        free = list(range(len(other)))
        for box in one:
            near = [intersection_over_union(box, other[i : i + 1])[0] for i in free]
            if not near or max(near) < self.match:
                return False
            free.pop(int(np.argmax(near)))
        return True


def intersection_over_union(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of a box (left, top, right, bottom) and each of ``others`` (N, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.clip(high - low, 0, None).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - common
    return np.asarray(common / union)
