"""What the generated code runs on: instruction sets, caches, cores."""

from edgesmith.target.board import Board, board_of
from edgesmith.target.core import Core, cores
from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.machine import Machine
from edgesmith.target.processor import Processor, this_processor
from edgesmith.target.profile import Profile, profiles
from edgesmith.target.system import System, system_of
from edgesmith.target.target import Target, absent, parse, refused, runs_here
from edgesmith.target.variants import baseline_of, variants

__all__ = [
    "ISAS",
    "Board",
    "Core",
    "Isa",
    "Machine",
    "Processor",
    "Profile",
    "System",
    "Target",
    "absent",
    "baseline_of",
    "board_of",
    "cores",
    "parse",
    "profiles",
    "refused",
    "runs_here",
    "system_of",
    "this_processor",
    "variants",
]
