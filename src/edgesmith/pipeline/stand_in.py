"""A quantised model for measuring: as fast and as large as a calibrated one, without its accuracy."""

from __future__ import annotations

from dataclasses import replace

from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.ir import Graph
from edgesmith.pipeline.progress import silent
from edgesmith.pipeline.quantizer import Quantizer, settings_for
from edgesmith.quantize import Quantized

__all__ = ["stand_in"]

QUICK = "min-max"
"""The observer that looks at each value once."""


def stand_in(graph: Graph, precision: str) -> Quantized:
    """A graph quantised with the ranges of one random input: scales decide neither kernels nor bytes."""
    settings = replace(settings_for(precision, None), observer=QUICK, recovery=())
    inputs = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))
    return Quantizer.of(graph, inputs if settings.kind.is_integer else None, settings, None).run(None, silent)
