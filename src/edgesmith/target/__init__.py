"""What the generated code runs on: instruction sets, caches, cores."""

from edgesmith.target.board import Board, board_of
from edgesmith.target.core import Core, cores
from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.machine import Machine
from edgesmith.target.processor import Processor, this_processor
from edgesmith.target.profile import Profile, profiles
from edgesmith.target.target import Target, absent, parse, runs_here

__all__ = [
    "ISAS",
    "Board",
    "Core",
    "Isa",
    "Machine",
    "Processor",
    "Profile",
    "Target",
    "absent",
    "board_of",
    "cores",
    "parse",
    "profiles",
    "runs_here",
    "this_processor",
]
