"""Search for pruning ratios within a budget of milliseconds, MACs or bytes.

``search(problem, "netadapt")`` and its siblings take the same ``Problem``: a module, its groups of channels, and
functions that prune, cost, evaluate and shortly train it. Adding a method is one file with ``search_method``.
``parallel=`` evaluates candidates together: any function like ``map`` over processes, or ``RayWorkers``.
"""

from edgesmith.compress.search.candidates import Parallel
from edgesmith.compress.search.features import layer_features
from edgesmith.compress.search.fitting import along, fit, uniform
from edgesmith.compress.search.methods import SEARCHES, is_parallel, search, search_method
from edgesmith.compress.search.problem import Found, Group, Problem
from edgesmith.compress.search.ray_workers import RayWorkers
from edgesmith.compress.search.trials import Trials

__all__ = [
    "SEARCHES",
    "Found",
    "Group",
    "Parallel",
    "Problem",
    "RayWorkers",
    "Trials",
    "along",
    "fit",
    "is_parallel",
    "layer_features",
    "search",
    "search_method",
    "uniform",
]
