"""Tuning: kernels measured on this machine, a database of what they took, and models of what others would take."""

from edgesmith.tune.database import Database, Environment, Record, default_path
from edgesmith.tune.measurements import MeasuredCost, Measurements
from edgesmith.tune.precision import PrecisionChoice, choose_precision
from edgesmith.tune.search import Progress, Status, Tuned
from edgesmith.tune.session import environment, known_times, recorded, tune

__all__ = [
    "Database",
    "Environment",
    "MeasuredCost",
    "Measurements",
    "PrecisionChoice",
    "Progress",
    "Record",
    "Status",
    "Tuned",
    "choose_precision",
    "default_path",
    "environment",
    "known_times",
    "recorded",
    "tune",
]
