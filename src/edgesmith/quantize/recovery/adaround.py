"""Weights rounded up or down so that the layer's results come near to the float ones."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgesmith.atomic import replacing_file
from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.recovery.base import Draft, Evidence, Recovery, recovery
from edgesmith.quantize.recovery.reconstruction import Layers, Reconstruction, products_in_order
from edgesmith.quantize.recovery.rounding import with_integers

__all__ = ["AdaRound", "rounded"]

STEPS = 500
"""Steps of gradient descent for each layer."""
RATE = 0.02
"""Step size of Adam."""
WARM = 0.2
"""Share of the steps without the pull towards 0 and 1."""
PULL = 0.05
"""Weight of that pull; the error of a channel rounded to nearest counts as much as all its weights together."""
BETA = (20.0, 2.0)
"""First and last exponent of the pull: the larger, the more it leaves undecided weights alone."""
STRETCH = (-0.1, 1.1)
"""Range of the sigmoid before it is cut to 0..1 (rectified sigmoid), so that 0 and 1 are reached."""
FLIPS = 2
"""Most single changes afterwards, as a multiple of the terms of a sum."""


@recovery("adaround")
class AdaRound(Recovery):
    """Learns for each weight whether to round up or down.

    Source: Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, 2020. A relaxed choice between
    0 and 1 for each weight (a rectified sigmoid) follows the gradient of the squared error of the layer's results with
    the quantised network's inputs, with a growing pull towards 0 and 1. Unlike there the error is an exact quadratic
    form over all sampled places, so that every step sees all of them, without the activation function; the best bias
    for the weights is part of it; and single changes that lower the error further are made at the end. The result is
    never worse than rounding to nearest, in that form.
    """

    def improve(self, draft: Draft, evidence: Evidence) -> Draft:
        names, layers = products_in_order(draft), Layers(draft.exact, evidence)
        kept = _Kept(evidence.state, f"{draft.quantized().digest} {evidence.samples.digest} {evidence.used}")
        for done, name in enumerate(names, 1):
            if name not in kept.integers:
                found = layers.reconstruction(draft, name)
                if not found.finite:
                    continue
                integers, weights = rounded(found, draft.parameters.weights[name])
                kept.add(name, integers, found.bias(weights) if found.linear.takes_bias else None)
            draft = with_integers(draft, name, kept.integers[name])
            if name in kept.biases:
                draft = draft.with_bias(name, kept.biases[name])
            evidence.progress(done, len(names))
        kept.remove()
        return draft


def rounded(found: Reconstruction, parameters: QParams, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """The integers of a layer's weights, shaped like them, and what they stand for as (g, m, k)."""
    problem = _Problem.of(found, parameters)
    nearest = problem.nearest()
    best = problem.flipped(nearest)
    other = problem.flipped(problem.relaxed(nearest, steps))
    better = found.error(problem.weights(other)) < found.error(problem.weights(best))
    up = np.where(better[..., None], other, best)
    integers = found.linear.tensor(problem.floor + up).astype(parameters.dtype.numpy)
    return integers, problem.weights(up)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The choice between the two integers next to each weight.

    Args:
        scale: (g, m or 1, 1) scales, and ``zero`` zero points.
        floor: (g, m, k) the lower integer; both it and the next are in use.
        share: (g, m, k) where the weight lies between the two, 0 to 1.
    """

    found: Reconstruction
    parameters: QParams
    scale: np.ndarray
    zero: np.ndarray
    floor: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, found: Reconstruction, parameters: QParams) -> _Problem:
        linear = found.linear
        first, last = parameters.limits
        steps = linear.matrix(parameters.steps(linear.form.weights))
        floor = np.clip(np.floor(steps), first, last - 1)
        scale, zero = (linear.by_channel(a.astype(np.float64)) for a in (parameters.scale, parameters.zero))
        return cls(found, parameters, scale, zero, floor, np.clip(steps - floor, 0, 1))

    def weights(self, up: np.ndarray) -> np.ndarray:
        """What the integers stand for when ``up`` (0 or 1, or between) is added to the lower ones."""
        return np.asarray((self.floor + up - self.zero) * self.scale)

    def nearest(self) -> np.ndarray:
        linear = self.found.linear
        return np.asarray(linear.matrix(self.parameters.quantize(linear.form.weights)) - self.floor)

    def relaxed(self, nearest: np.ndarray, steps: int) -> np.ndarray:
        """The choice by gradient descent on rectified sigmoids, from the weights as they are."""
        low, high = STRETCH
        error = self.found.error(self.weights(nearest))
        unit = error + 1e-6 * self.found.power
        unit = np.where(unit > 0, unit, 1.0)
        gain = (self.scale * self.floor.shape[-1] / unit[..., None]).astype(np.float32)
        gram = self.found.gram.astype(np.float32)
        target = self.found.slope(self.weights(np.zeros_like(self.floor))).astype(np.float32)
        step = (2 * self.scale).astype(np.float32)
        inner = np.clip((self.share - low) / (high - low), 1e-4, 1 - 1e-4)
        logits = np.log(inner / (1 - inner)).astype(np.float32)
        mean, square = np.zeros_like(logits), np.zeros_like(logits)
        for i in range(steps):
            sigmoid = 1 / (1 + np.exp(-logits))
            stretched = sigmoid * (high - low) + low
            up = np.clip(stretched, 0, 1)
            slope = (target + step * (up @ gram)) * gain
            done = i / steps
            if done >= WARM:
                late = (done - WARM) / (1 - WARM)
                slope += PULL * _pull(up, BETA[1] + (BETA[0] - BETA[1]) * (1 + np.cos(np.pi * late)) / 2)
            slope *= (high - low) * sigmoid * (1 - sigmoid) * ((stretched > 0) & (stretched < 1))
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope * slope - square)
            rate = RATE * np.sqrt(1 - 0.999 ** (i + 1)) / (1 - 0.9 ** (i + 1))
            logits -= np.float32(rate) * mean / (np.sqrt(square) + 1e-8)
        return (1 / (1 + np.exp(-logits)) > 0.5).astype(np.float64)

    def flipped(self, up: np.ndarray) -> np.ndarray:
        """The choice after single changes, in each channel the best one at a time, while they lower the error."""
        groups, channels, terms = up.shape
        up = up.copy()
        slope = self.found.slope(self.weights(up))
        curvature = np.einsum("gkk->gk", self.found.gram)
        scale = np.broadcast_to(self.scale, (groups, channels, 1))
        active = np.argwhere(np.ones((groups, channels), bool))
        for _ in range(FLIPS * terms):
            g, m = active.T
            change = scale[g, m] * (1 - 2 * up[g, m])
            gain = change * (slope[g, m] + change * curvature[g])
            best = gain.argmin(axis=1)
            rows = np.arange(len(active))
            lower = gain[rows, best] < -1e-9 * self.found.power[g, m]
            if not lower.any():
                break
            active, best, change = active[lower], best[lower], change[lower, best[lower]]
            g, m = active.T
            slope[g, m] += 2 * change[:, None] * self.found.gram[g, best]
            up[g, m, best] = 1 - up[g, m, best]
        return up


def _pull(up: np.ndarray, beta: float) -> np.ndarray:
    """Derivative of 1 - |2 up - 1| ** beta."""
    apart = 2 * up - 1
    return np.asarray(-2 * beta * np.sign(apart) * np.abs(apart) ** (beta - 1), np.float32)


class _Kept:
    """The layers that are done, in a file if there is one, so that an interrupted search goes on."""

    def __init__(self, path: Path | None, key: str) -> None:
        self._path, self._key = path, key
        self.integers: dict[str, np.ndarray] = {}
        self.biases: dict[str, np.ndarray] = {}
        if path is not None:
            self._load(path)

    def add(self, name: str, integers: np.ndarray, bias: np.ndarray | None) -> None:
        self.integers[name] = integers
        if bias is not None:
            self.biases[name] = bias
        if self._path is None:
            return
        arrays: Mapping[str, np.ndarray] = {
            **{f"integers/{n}": a for n, a in self.integers.items()},
            **{f"bias/{n}": a for n, a in self.biases.items()},
        }
        with replacing_file(self._path) as file:
            np.savez(file, allow_pickle=False, key=np.array(self._key), **arrays)

    def remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _load(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as kept:
                if str(kept["key"]) != self._key:
                    return
                for entry in kept.files:
                    kind, _, name = entry.partition("/")
                    if kind in ("integers", "bias"):
                        (self.integers if kind == "integers" else self.biases)[name] = kept[entry]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self.integers, self.biases = {}, {}
