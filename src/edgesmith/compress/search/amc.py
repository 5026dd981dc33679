"""AMC: a reinforcement learner walks through the groups and says how much of each goes.

Y. He, J. Lin, Z. Liu, H. Wang, L.-J. Li and S. Han, "AMC: AutoML for model compression and acceleration on mobile
devices", ECCV 2018, arXiv:1802.03494. The state of a group is the paper's (section 3.1) where its features are those of
``layer_features``, its cost taken from the budget's own measure: how much of it goes when the group alone is pruned as
far as it may be.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np

from edgesmith.compress.search.ddpg import Agent, Transition
from edgesmith.compress.search.fitting import fit, needs_pruning, settled
from edgesmith.compress.search.methods import search_method
from edgesmith.compress.search.problem import Found, Problem, Progress, Shape
from edgesmith.compress.search.trials import Trials
from edgesmith.errors import BadInput

__all__ = ["amc"]

Reward = Literal["accuracy", "log-cost"]


@search_method("amc")
def amc(
    problem: Problem,
    *,
    seed: int = 0,
    record: str | Path | None = None,
    progress: Progress | None = None,
    episodes: int = 400,
    warm_up: int = 100,
    reward: Reward = "accuracy",
    noise: float = 0.5,
    noise_decay: float = 0.99,
    hidden: int = 300,
) -> Found:
    """Learn ratios within the budget by DDPG; the best evaluated shape counts.

    Args:
        episodes: walks through all groups, each of which ends in one evaluation.
        warm_up: of them, walks of random actions.
        reward: ``accuracy``: minus the error, where actions that leave the budget out of reach are raised (the paper's
            resource-constrained search); ``log-cost``: minus the error times the logarithm of the cost, where the
            learner decides itself how much goes, and only the outcome is brought within the budget.
        noise: standard deviation of exploration after the warm-up, and ``noise_decay`` what remains of it each episode.
        hidden: units of the learner's layers.

    Raises:
        BudgetMissed: no shape is within the budget.
        BadInput: no such reward, or the record is another search's.
    """
    if reward not in ("accuracy", "log-cost"):
        raise BadInput(f"{reward!r} is not one of accuracy, log-cost", where="amc reward")
    own = {"episodes": episodes, "warm_up": warm_up, "reward": reward, "noise": noise, "hidden": hidden}
    trials = Trials(problem, {"method": "amc", "seed": seed, "noise_decay": noise_decay, **own}, record, progress)
    if not needs_pruning(trials):
        return trials.found(problem.whole)
    walk = _Walk(trials)
    agent = Agent(len(walk.state(0, 0.0, 0.0)), seed, hidden=hidden)
    for episode in range(episodes):
        exploring = None if episode < warm_up else noise * noise_decay ** (episode - warm_up)
        actions, states = walk.through(agent, exploring, reward == "accuracy")
        ratios = [a * problem.most for a in actions]
        shape = problem.shape(ratios)
        if reward == "accuracy" and trials.cost(shape) > problem.budget:
            shape = fit(trials, ratios, grow=False)
        gained = _reward(trials, shape, reward)
        following = [*states[1:], states[-1]]
        last = len(actions) - 1
        agent.remember(
            [
                Transition(s, a, gained, n, i == last)
                for i, (s, a, n) in enumerate(zip(states, actions, following, strict=True))
            ]
        )
        if episode >= warm_up:
            for _ in actions:
                agent.learn()
        trials.progress("amc: episodes", episode + 1, episodes)
    if reward == "log-cost" and trials.cost(trials.best) > problem.budget:
        trials.score(fit(trials, list(problem.ratios(trials.best).values())))
    return trials.found(settled(trials))


def _reward(trials: Trials, shape: Shape, kind: Reward) -> float:
    problem = trials.problem
    score = trials.score(shape)
    error = 1.0 - score / problem.perfect if math.isfinite(score) else 1.0
    if kind == "accuracy":
        return -error
    return -error * math.log(1.0 + 1000.0 * trials.cost(shape) / trials.cost(problem.whole))


class _Walk:
    """From group to group, with what each can save."""

    def __init__(self, trials: Trials) -> None:
        problem = trials.problem
        whole, least = trials.cost(problem.whole), trials.cost(problem.smallest)
        alone = []
        for i, kept in enumerate(problem.smallest):
            shape = (*problem.whole[:i], kept, *problem.whole[i + 1 :])
            alone.append(max(1.0 - trials.cost(shape) / whole, 0.0))
            trials.progress("amc: what groups cost", i + 1, len(problem.groups))
        # Savings overlap, because a group's channels are the next one's inputs: scaled to what all save together.
        scale = (1.0 - least / whole) / sum(alone) if sum(alone) > 0 else 0.0
        self._shares = [a * scale for a in alone]
        self._needed = 1.0 - problem.budget / whole
        self._table = _standardised([(float(g.channels), *g.features) for g in problem.groups])

    def state(self, index: int, reduced: float, action: float) -> tuple[float, ...]:
        """(t, channels and features, own cost, reduced, rest, the action before), the paper's equation 1."""
        place = index / max(len(self._shares) - 1, 1)
        return (place, *self._table[index], self._shares[index], reduced, sum(self._shares[index + 1 :]), action)

    def through(
        self, agent: Agent, noise: float | None, constrained: bool
    ) -> tuple[list[float], list[tuple[float, ...]]]:
        """Actions in [0, 1] (of the largest ratio) and the states they were taken in; no noise: random actions."""
        actions: list[float] = []
        states: list[tuple[float, ...]] = []
        reduced = 0.0
        for i, share in enumerate(self._shares):
            state = self.state(i, reduced, actions[-1] if actions else 0.0)
            action = agent.random() if noise is None else agent.act(state, noise)
            if constrained and share > 0:
                action = min(max(action, (self._needed - reduced - sum(self._shares[i + 1 :])) / share), 1.0)
            reduced += share * action
            actions.append(action)
            states.append(state)
        return actions, states


def _standardised(rows: list[tuple[float, ...]]) -> list[list[float]]:
    """Every column from 0 to 1; rows that are shorter end in zeros."""
    width = max(map(len, rows))
    table = np.array([[*row, *[0.0] * (width - len(row))] for row in rows])
    low = table.min(axis=0)
    scaled: list[list[float]] = ((table - low) / np.maximum(table.max(axis=0) - low, 1e-9)).tolist()
    return scaled
