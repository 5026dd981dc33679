"""Deep deterministic policy gradient for one action in an interval: a small actor-critic learner.

T. Lillicrap, J. Hunt, A. Pritzel, N. Heess, T. Erez, Y. Tassa, D. Silver and D. Wierstra, "Continuous control with deep
reinforcement learning", ICLR 2016, arXiv:1509.02971.
"""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Agent", "Transition"]


@dataclass(frozen=True)
class Transition:
    """One step: ``last`` ends an episode."""

    state: tuple[float, ...]
    action: float
    reward: float
    next_state: tuple[float, ...]
    last: bool


class Agent:
    """Learns which action in [0, 1] a state asks for.

    Args:
        states: numbers of a state, each of the order of 1.
        seed: of its networks and of its choices.
        hidden: units of both hidden layers (300, as in AMC).
        memory: transitions that are remembered.
        mixing: how far the target networks move at a time.
    """

    def __init__(
        self,
        states: int,
        seed: int,
        *,
        hidden: int = 300,
        memory: int = 2000,
        batch: int = 64,
        actor_rate: float = 1e-4,
        critic_rate: float = 1e-3,
        mixing: float = 0.01,
        discount: float = 1.0,
    ) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._actor = nn.Sequential(*_layers(states, hidden), nn.Sigmoid())
            self._critic = nn.Sequential(*_layers(states + 1, hidden))
        self._slow_actor, self._slow_critic = copy.deepcopy(self._actor), copy.deepcopy(self._critic)
        self._actor_steps = torch.optim.Adam(self._actor.parameters(), lr=actor_rate)
        self._critic_steps = torch.optim.Adam(self._critic.parameters(), lr=critic_rate)
        self._memory: deque[Transition] = deque(maxlen=memory)
        self._random = np.random.default_rng(seed)
        self._batch, self._mixing, self._discount = batch, mixing, discount
        self._baseline: float | None = None

    def random(self) -> float:
        return float(self._random.uniform())

    def act(self, state: tuple[float, ...], noise: float = 0.0) -> float:
        """The action of the policy, drawn from a normal distribution around it that is cut off at 0 and 1.

        Args:
            noise: its standard deviation.
        """
        with torch.no_grad():
            mean = float(self._actor(torch.tensor([state]))[0, 0])
        if noise <= 0:
            return mean
        for _ in range(100):
            drawn = float(self._random.normal(mean, noise))
            if 0 <= drawn <= 1:
                return drawn
        return min(max(mean, 0.0), 1.0)

    def remember(self, episode: list[Transition]) -> None:
        """Keep an episode, and the moving average of rewards, from which rewards are counted."""
        self._memory.extend(episode)
        mean = float(np.mean([t.reward for t in episode]))
        self._baseline = mean if self._baseline is None else 0.95 * self._baseline + 0.05 * mean

    def learn(self) -> None:
        """One step of both networks on transitions drawn from memory."""
        chosen = [self._memory[i] for i in self._random.integers(len(self._memory), size=self._batch)]
        state, following = (torch.tensor(rows) for rows in zip(*((t.state, t.next_state) for t in chosen), strict=True))
        action, reward = (
            torch.tensor(rows)[:, None] for rows in zip(*((t.action, t.reward) for t in chosen), strict=True)
        )
        goes_on = torch.tensor([[0.0 if t.last else 1.0] for t in chosen])
        with torch.no_grad():
            worth = self._slow_critic(torch.cat([following, self._slow_actor(following)], 1))
            goal = reward - (self._baseline or 0.0) + self._discount * goes_on * worth
        self._step(self._critic_steps, (self._critic(torch.cat([state, action], 1)) - goal).square().mean())
        self._step(self._actor_steps, -self._critic(torch.cat([state, self._actor(state)], 1)).mean())
        for slow, fast in ((self._slow_actor, self._actor), (self._slow_critic, self._critic)):
            for kept, new in zip(slow.parameters(), fast.parameters(), strict=True):
                kept.data.lerp_(new.data, self._mixing)

    def _step(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()


def _layers(inputs: int, hidden: int) -> list[nn.Module]:
    last = nn.Linear(hidden, 1)
    nn.init.uniform_(last.weight, -3e-3, 3e-3)
    nn.init.uniform_(last.bias, -3e-3, 3e-3)
    return [nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), last]
