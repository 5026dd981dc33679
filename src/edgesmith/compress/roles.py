"""What methods get from their users: functions of a module."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

__all__ = ["Evaluate", "Finetune", "Latency"]

Evaluate = Callable[[nn.Module], float]
"""How good a module is; more is better, such as top-1 accuracy in percent."""

Finetune = Callable[[nn.Module], None]
"""Trains a module in place."""

Latency = Callable[[nn.Module], float]
"""Milliseconds of one inference on the target."""
