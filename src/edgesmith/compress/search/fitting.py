"""Onto the budget: ratios are scaled together until the cost is within it, and as near as channels permit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgesmith.compress.search.problem import Problem, Shape
from edgesmith.compress.search.trials import Trials
from edgesmith.errors import BudgetMissed

__all__ = ["along", "fit", "needs_pruning", "settled", "uniform"]

HALVINGS = 14


def fit(trials: Trials, ratios: Sequence[float], *, grow: bool = True) -> Shape:
    """The shape on the way from nothing pruned, over ``ratios``, to everything pruned, that fits the budget best.

    Args:
        ratios: in the groups' order.

    Other arguments and errors as of ``along``.
    """
    problem = trials.problem
    return along(trials, lambda place: problem.shape(_scaled(ratios, 2 * place, problem.most)), grow=grow)


def along(trials: Trials, way: Callable[[float], Shape], *, grow: bool = True) -> Shape:
    """The shape on a way that fits the budget best.

    The cost need not fall all the way (vectors are filled in steps, measured times scatter): what is returned was
    costed and is within the budget.

    Args:
        way: from nothing pruned at 0 to everything that may be at 1.
        grow: where the result stays more than the problem's tolerance below the budget, give channels back, group by
            group, least pruned first.

    Raises:
        BudgetMissed: even the smallest shape costs more.
    """
    problem = trials.problem
    if not needs_pruning(trials):
        return problem.whole
    low, high = 0.0, 1.0
    best = problem.smallest
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        shape = way(middle)
        cost = trials.cost(shape)
        if cost <= problem.budget:
            high = middle
            best = shape if cost >= trials.cost(best) else best
        else:
            low = middle
        near = problem.budget * (1 - problem.tolerance) <= trials.cost(best)
        if near or way(low) == way(high):
            break
    return _grown(trials, best) if grow else best


def uniform(trials: Trials) -> Shape:
    """The same share of every group; raises as ``fit``."""
    return fit(trials, [trials.problem.most / 2] * len(trials.problem.groups))


def settled(trials: Trials) -> Shape:
    """The best shape that was evaluated, or it with channels given back up to the budget, whichever is better."""
    best = trials.best
    if trials.cost(best) > trials.problem.budget:
        return uniform(trials)
    return max((best, _grown(trials, best)), key=trials.score)


def needs_pruning(trials: Trials) -> bool:
    """Whether the whole module costs more than the budget.

    Raises:
        BudgetMissed: even the smallest shape does.
    """
    problem = trials.problem
    if trials.cost(problem.whole) <= problem.budget:
        return False
    least = trials.cost(problem.smallest)
    if least > problem.budget:
        raise BudgetMissed(
            f"the smallest shape, with {problem.most:.0%} of the channels of every group pruned, costs {least:.4g}; "
            f"the budget is {problem.budget:.4g}",
            where="search",
            hint="raise the budget or the largest ratio, or start from a smaller network",
        )
    return True


def _scaled(ratios: Sequence[float], scale: float, most: float) -> list[float]:
    """Nothing pruned at 0, the ratios at 1, everything that may be at 2."""
    if scale <= 1:
        return [min(r, most) * scale for r in ratios]
    return [min(r, most) + (most - min(r, most)) * (scale - 1) for r in ratios]


def _grown(trials: Trials, shape: Shape) -> Shape:
    """More channels, as long as the cost is not within the tolerance and stays within the budget."""
    problem = trials.problem
    goal = problem.budget * (1 - problem.tolerance)
    stuck: set[int] = set()
    while trials.cost(shape) < goal:
        order = [i for i in range(len(shape)) if i not in stuck and shape[i] < problem.groups[i].channels]
        if not order:
            break
        i = max(order, key=lambda j: (shape[j] / problem.groups[j].channels, -j))
        more = _enlarged(problem, shape, i)
        if trials.cost(more) <= problem.budget:
            shape = more
        else:
            stuck.add(i)
    return shape


def _enlarged(problem: Problem, shape: Shape, index: int) -> Shape:
    group = problem.groups[index]
    kept = min((shape[index] // group.step + 1) * group.step, group.channels)
    return (*shape[:index], kept, *shape[index + 1 :])
