"""The outcome of a verification, and the evidence that it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith.device.artifact import VERIFICATION
from edgesmith.errors import VerificationFailed
from edgesmith.verify.compare import Difference

__all__ = ["EVIDENCE", "REPORT", "Evidence", "Layer", "Verification"]

REPORT = "report.txt"
EVIDENCE = "first_wrong_layer.npz"


@dataclass(frozen=True)
class Layer:
    """One step of the program, or one movement that needs no step.

    Args:
        step: its number; None for a movement that became a view.
        name: of its main node.
        origin: the ONNX nodes that it comes from.
        isolated: its difference from the reference when it alone runs, on reference inputs.
        accumulated: the difference of the running program at its output.
        fault: what is wrong beyond numbers, such as a value that was overwritten before it was read.
    """

    step: int | None
    name: str
    operators: str
    kernel: str
    origin: tuple[str, ...]
    value: str
    isolated: Difference
    accumulated: Difference
    fault: str = ""

    @property
    def ok(self) -> bool:
        return self.isolated.ok and not self.fault

    def describe(self) -> str:
        nodes = ", ".join(self.origin or (self.name,))
        where = f"step {self.step}" if self.step is not None else "a view"
        if self.fault:
            return f"{where} ({self.operators}, kernel {self.kernel}; {nodes}): {self.fault}"
        return f"{where} ({self.operators}, kernel {self.kernel}; {nodes}): {_excess(self.value, self.isolated)}"


@dataclass(frozen=True)
class Evidence:
    """What the first wrong layer read, should have written and wrote."""

    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]
    got: Mapping[str, np.ndarray]


@dataclass
class Verification:
    """Comparison of an artifact with ONNX Runtime.

    Args:
        device: what ran the program, where this machine does not; its layers are not compared then.
        outputs: difference of each output from the original model's.
        layers: every layer in the order of execution.
        evidence: of the first wrong layer.
        evidence_path: where ``keep`` wrote it.
    """

    name: str
    seed: int | None
    device: str = ""
    outputs: dict[str, Difference] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    evidence: Evidence | None = None
    evidence_path: Path | None = None

    @property
    def ok(self) -> bool:
        return all(d.ok for d in self.outputs.values()) and all(layer.ok for layer in self.layers)

    @property
    def first_wrong(self) -> Layer | None:
        """The first layer that errs on reference inputs; else, where only an output is wrong, where it goes astray."""
        wrong = next((layer for layer in self.layers if not layer.ok), None)
        if wrong is None and not self.ok:
            wrong = next((layer for layer in self.layers if not layer.accumulated.ok), None)
        return wrong

    def table(self) -> list[dict[str, Any]]:
        """One row a layer: names, kernel, isolated and accumulated error with their tolerances."""
        return [
            {
                "step": layer.step,
                "name": layer.name,
                "operators": layer.operators,
                "kernel": layer.kernel,
                "origin": list(layer.origin),
                "error": layer.isolated.max_abs,
                "tolerance": layer.isolated.tolerance,
                "share": layer.isolated.ratio,
                "accumulated_error": layer.accumulated.max_abs,
                "accumulated_tolerance": layer.accumulated.tolerance,
                "ok": layer.ok,
            }
            for layer in self.layers
        ]

    def require(self) -> None:
        """Raise ``VerificationFailed`` unless everything agrees."""
        if not self.ok:
            kept = f"evidence: {self.evidence_path}" if self.evidence_path else ""
            raise VerificationFailed(self.reason(), where=self.name, hint=kept)

    def reason(self) -> str:
        """Why it failed, naming the first wrong layer."""
        bad = "; ".join(f"output {_excess(v, d)}" for v, d in self.outputs.items() if not d.ok)
        layer = self.first_wrong
        if layer is not None and not layer.ok:
            return f"first wrong layer: {layer.describe()}" + (f"; {bad}" if bad else "")
        if self.device:
            return f"{bad}; on {self.device}, whose layers are not compared"
        if layer is not None:
            return f"{bad}; every layer alone is right; the values go astray at {layer.name} ({layer.operators})"
        return f"{bad}; every layer agrees with the optimised graph: a conversion or a pass changed what it computes"

    def report(self) -> str:
        """The whole comparison as text."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        where = f" on {self.device}" if self.device else ""
        yield f"{self.name}{where}: {'agrees with ONNX Runtime' if self.ok else 'DIFFERS from ONNX Runtime'}"
        if not self.ok:
            yield self.reason()
        yield ""
        yield f"{'output':40} {'max abs':>11} {'tolerance':>11} {'relative':>10} {'rms':>10} {'ulp':>9}"
        for v, d in self.outputs.items():
            mark = "" if d.ok else "  WRONG"
            yield f"{v:40.40} {d.max_abs:11.3e} {d.tolerance:11.3e} {d.relative:10.2e} {d.rms:10.2e} {d.ulp:9.1f}{mark}"
        yield ""
        yield f"{'step':>5} {'layer':40} {'kernel':14} {'error':>10} {'allowed':>10} {'running':>12} {'allowed':>10}"
        for layer in self.layers:
            a, b = layer.isolated, layer.accumulated
            step = "view" if layer.step is None else str(layer.step)
            yield (
                f"{step:>5} {layer.name:40.40} {layer.kernel:14.14} {a.max_abs:10.2e} {a.tolerance:10.2e} "
                f"{b.max_abs:12.2e} {b.tolerance:10.2e}{'' if layer.ok else '  WRONG'}"
            )

    def to_json(self) -> dict[str, Any]:
        """What ``verification.json`` holds."""
        return {
            "ok": self.ok,
            "reference": "ONNX Runtime",
            "device": self.device or None,
            "seed": self.seed,
            "outputs": [
                _finite({"name": v, "error": d.max_abs, **asdict(d), "ok": d.ok}) for v, d in self.outputs.items()
            ],
            "layers": [_finite(row) for row in self.table()],
        }

    def keep(self, folder: Path) -> None:
        """Leave the report, the table and the first wrong layer's arrays in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / VERIFICATION).write_text(json.dumps(self.to_json(), indent=1) + "\n")
        (folder / REPORT).write_text(self.report())
        if self.evidence is not None:
            parts = {"input": self.evidence.inputs, "expected": self.evidence.expected, "got": self.evidence.got}
            arrays = {f"{kind}:{v}".replace("/", "|"): a for kind, group in parts.items() for v, a in group.items()}
            with (folder / EVIDENCE).open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        self.evidence_path = folder


def _excess(value: str, d: Difference) -> str:
    at = ", ".join(map(str, d.at))
    return f"{value!r} differs by {d.max_abs:.3g}, allowed {d.tolerance:.3g} (element [{at}])"


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no infinities."""
    return {k: str(v) if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
