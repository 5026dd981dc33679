"""How accuracy falls with the part of each group that goes: curves, and ratios for a tolerable drop from them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgesmith.atomic import write_file
from edgesmith.compress.prune.pruning import prune
from edgesmith.compress.prune.structure import analyse
from edgesmith.compress.roles import Evaluate
from edgesmith.errors import BadInput

__all__ = ["Curves", "sensitivity"]


@dataclass(frozen=True)
class Curves:
    """Quality of a module with one group pruned at a time.

    Attributes:
        baseline: quality of the whole module.
        curves: group to ratio (the part that went) to quality.
        of: digest of the module and the options that it was pruned with.
    """

    baseline: float
    curves: Mapping[str, Mapping[float, float]]
    of: str = ""

    def ratios(self, drop: float) -> dict[str, float]:
        """For every group, the largest part that may go before quality falls by more than ``drop``.

        Between measured ratios the curve is taken as straight; a curve that rises again counts as fallen, and so does a
        quality that is no number.
        """
        result = {}
        for group, curve in self.curves.items():
            last_ratio, last = 0.0, self.baseline
            best = 0.0
            for ratio, quality in sorted(curve.items()):
                if not quality >= self.baseline - drop:  # or is no number
                    fall = last - quality
                    best += (ratio - last_ratio) * (last - (self.baseline - drop)) / fall if fall > 0 else 0.0
                    break
                best, last_ratio, last = ratio, ratio, quality
            result[group] = best
        return result

    def to_json(self) -> str:
        """Text that ``from_json`` reads."""
        return json.dumps({"baseline": self.baseline, "curves": self.curves, "of": self.of}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Curves:
        """What ``to_json`` wrote.

        Raises:
            BadInput: it is something else.
        """
        try:
            data = json.loads(text)
            curves = {group: {float(r): float(q) for r, q in curve.items()} for group, curve in data["curves"].items()}
            return cls(float(data["baseline"]), curves, str(data["of"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"no curves of sensitivity: {type(error).__name__}: {error}"
            raise BadInput(why, where="Curves", hint="give what to_json wrote") from error


def sensitivity(
    module: nn.Module,
    example: Any,
    evaluate: Evaluate,
    *,
    ratios: Sequence[float] = (0.1, 0.25, 0.5, 0.75),
    path: Path | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Curves:
    """Prune every group alone by every ratio, without training, and evaluate.

    Args:
        evaluate: quality of a module, more is better.
        path: a JSON file that is read first and written after each evaluation: what it has is not evaluated again.
        progress: gets a line after each evaluation.
        options: for ``prune``: importance, data, round_to, ...

    Raises:
        BadInput: the quality of the whole module is no finite number; the file is of another module or other options
            (as far as they are no functions and data, which are the caller's to vouch for); and whatever ``prune``
            raises.
    """
    structure = analyse(module, example, options.get("attention", "heads"))
    of = _digest(module, options)
    known = Curves.from_json(path.read_text()) if path is not None and path.exists() else None
    if known is not None and known.of != of:
        hint = "name another file, or remove it"
        raise BadInput("holds curves of another module or other options", where=str(path), hint=hint)
    baseline = float(evaluate(module)) if known is None else known.baseline
    if not math.isfinite(baseline):
        why = f"the quality of the module as it is, is {baseline}"
        raise BadInput(why, where="sensitivity", hint="look at evaluate, and at what the module gives")
    curves: dict[str, dict[float, float]] = {g: dict(c) for g, c in known.curves.items()} if known else {}
    total, done = len(structure.groups) * len(ratios), 0
    for group in structure.groups:
        curve = curves.setdefault(group.name, {})
        for ratio in ratios:
            done += 1
            if ratio in curve:
                continue
            pruned = prune(module, example, ratios={group.name: ratio}, structure=structure, **options)
            curve[ratio] = evaluate(pruned.module)
            if path is not None:
                write_file(path, Curves(baseline, curves, of).to_json().encode())
            if progress is not None:
                progress(f"{done}/{total} {group.name} -{ratio:.0%}: {curve[ratio]:.4g} of {baseline:.4g}")
    return Curves(baseline, curves, of)


def _digest(module: nn.Module, options: Mapping[str, Any]) -> str:
    """Of a module's architecture and weights, and of options but functions and data."""
    found = hashlib.sha256(repr([(name, type(part).__qualname__) for name, part in module.named_modules()]).encode())
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    plain = {name: value for name, value in options.items() if name != "data" and not callable(value)}
    found.update(repr(sorted(plain.items())).encode())
    return found.hexdigest()
