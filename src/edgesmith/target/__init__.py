"""What the generated code runs on: instruction sets, caches, cores."""

from edgesmith.target.isa import ISAS, Isa
from edgesmith.target.target import Target, parse

__all__ = ["ISAS", "Isa", "Target", "parse"]
