"""What the generated code runs on: instruction sets, caches, cores."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.machine import Machine
from edgesmith.target.processor import Processor, this_processor
from edgesmith.target.target import Target, absent, parse

__all__ = ["ISAS", "Isa", "Machine", "Processor", "Target", "absent", "parse", "this_processor"]
