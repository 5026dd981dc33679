"""Ranks where the network measures faster with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesmith.compress.lowrank.method import Ranks
from edgesmith.compress.lowrank.network import Network
from edgesmith.compress.lowrank.rules.energy import Energy
from edgesmith.compress.lowrank.rules.rounded import Rounded
from edgesmith.compress.lowrank.rules.rule import Choice, LayerRule, RankRule
from edgesmith.compress.roles import Evaluate, Latency
from edgesmith.errors import BadInput

__all__ = ["ByLatency"]


@dataclass(frozen=True)
class _Step:
    """One layer at certain ranks.

    Attributes:
        saved_ms: against the network as it is, with this layer alone replaced.
        lost: squared relative error.
    """

    name: str
    ranks: Ranks
    saved_ms: float
    lost: float


@dataclass(frozen=True)
class ByLatency(RankRule):
    """Layers are replaced only where the network is faster for it, by measurement.

    Each layer is measured alone at each rule's ranks. Then, greedily, the step that saves the most time for the energy
    it loses is taken and the network measured again: a step that does not pay there, or costs too much quality, is
    taken back. A layer may go on to the ranks of a later rule.

    Args:
        latency: milliseconds of a module on the target.
        rules: from the most to the least accurate.
        round_to: ranks are multiples of this.
        faster_by: least share of the network's latency that a step must save, above the noise of measuring.
        target_ms: where this is reached, nothing more is replaced.
        evaluate: how good a module is; with ``least``. Without it and ``target_ms``, layers stay at the first rule that
            pays.
        least: quality that must remain.

    Raises:
        BadInput: there are no rules, or only one of ``evaluate`` and ``least`` is given.
    """

    latency: Latency
    rules: Sequence[LayerRule] = (Energy(0.95), Energy(0.9), Energy(0.8))
    round_to: int = 8
    faster_by: float = 0.0
    target_ms: float | None = None
    evaluate: Evaluate | None = None
    least: float | None = None

    def __post_init__(self) -> None:
        if not self.rules:
            raise BadInput("there are no rules", where="ByLatency", hint="such as rules=(Energy(0.9),)")
        if (self.evaluate is None) != (self.least is None):
            raise BadInput("evaluate and least belong together", where="ByLatency", hint="give both, or neither")

    def patterns(self) -> Sequence[str]:
        return [pattern for rule in self.rules for pattern in rule.patterns()]

    def choose(self, network: Network) -> Choice:
        base = self.latency(network.module)
        steps, refused = self._measured(network, base)
        choice, now = Choice(), base
        taken: dict[str, _Step] = {}
        while steps and (self.target_ms is None or now > self.target_ms):
            step = max(steps, key=lambda each: _worth(each, taken.get(each.name)))
            steps.remove(step)
            ranks = {**choice.ranks, step.name: step.ranks}
            built = network.built(ranks)
            ms = self.latency(built)
            if now - ms <= self.faster_by * base:
                refused.setdefault(
                    step.name, f"ranks {step.ranks} do not pay: {ms:.4g} ms with them, {now:.4g} without"
                )
                continue
            if self.evaluate is not None and self.least is not None:
                quality = self.evaluate(built)
                if quality < self.least:
                    reason = f"with ranks {step.ranks} the quality is {quality:.4g}, less than {self.least:.4g}"
                    refused.setdefault(step.name, reason)
                    steps = [s for s in steps if s.name != step.name or s.lost < step.lost]
                    continue
            now, taken[step.name], choice.ranks = ms, step, ranks
            steps = [s for s in steps if s.name != step.name or s.saved_ms > step.saved_ms]
        for name in network.candidates:
            if name not in choice.ranks:
                choice.refused[name] = refused.get(name, f"the network is fast enough without: {now:.4g} ms")
        return choice

    def _measured(self, network: Network, base: float) -> tuple[list[_Step], dict[str, str]]:
        """Steps that save time by themselves, and why layers have none."""
        steps: list[_Step] = []
        refused: dict[str, str] = {}
        for name in network.candidates:
            seen: set[Ranks] = set()
            for rule in self.rules:
                ranks = Rounded(rule, self.round_to).ranks(name, network.decomposition(name))
                if isinstance(ranks, str):
                    refused[name] = ranks
                elif not network.smaller(name, ranks):
                    refused[name] = f"ranks {ranks} need no fewer multiply-adds than the layer"
                elif ranks not in seen:
                    seen.add(ranks)
                    ms = self.latency(network.built({name: ranks}))
                    if base - ms > self.faster_by * base:
                        steps.append(_Step(name, ranks, base - ms, network.error(name, ranks) ** 2))
                        refused.pop(name, None)
                        if self.target_ms is None and self.evaluate is None:
                            break
                    else:
                        refused[name] = f"ranks {ranks} are not faster: {ms:.4g} ms with them, {base:.4g} without"
        accepted = {step.name for step in steps}
        return steps, {name: reason for name, reason in refused.items() if name not in accepted}


def _worth(step: _Step, taken: _Step | None) -> float:
    """Milliseconds for the energy lost, both beyond what has been taken of the same layer."""
    saved, lost = (
        (step.saved_ms, step.lost) if taken is None else (step.saved_ms - taken.saved_ms, step.lost - taken.lost)
    )
    return saved / max(lost, 1e-12)
