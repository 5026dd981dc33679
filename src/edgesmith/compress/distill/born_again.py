"""Born-again networks: each generation is taught by the one before (Furlanello et al., arXiv:1805.04770)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from edgesmith.compress.distill.distiller import Distiller
from edgesmith.compress.distill.soft_logits import SoftLogits, refuse_temperature

__all__ = ["born_again"]


def born_again(
    generations: int,
    make: Callable[[int], nn.Module],
    train: Callable[[nn.Module, Distiller | None], None],
    *,
    T: float = 1.0,
    weight: float = 0.5,
) -> list[nn.Module]:
    """Train networks of one architecture in sequence; all of them, the first one taught by labels alone.

    Later generations are usually a little better than the first, and their averaged outputs better than any: a
    ``Distiller`` with all of them makes a strong teacher for something smaller.

    Args:
        generations: how many networks.
        make: a fresh one by its generation, from 0.
        train: trains a module in place, with the distiller as its loss where there is one:
            ``lambda module, kd: fit(module, data, settings, loss=kd)``.
        T: temperature.
        weight: of the teacher; the labels have the rest of 1.

    Raises:
        BadInput: the temperature is not above 0 and finite.
    """
    refuse_temperature(T, "born again")
    made: list[nn.Module] = []
    for generation in range(generations):
        module = make(generation)
        if made:
            with Distiller(made[-1], module, [SoftLogits(T, weight)], hard=1 - weight) as kd:
                train(module, kd)
        else:
            train(module, None)
        made.append(module)
    return made
