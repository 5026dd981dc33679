"""Integers bit by bit: what a program computes against the simulation of its graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgesmith.device import Artifact, Instance
from edgesmith.ir import Graph, Node
from edgesmith.ops import Operator

__all__ = ["wrong_integers"]


def wrong_integers(
    artifact: Artifact, graph: Graph, feeds: Mapping[str, np.ndarray], instance: Instance
) -> tuple[dict[str, int], int]:
    """Integer values that differ from the simulator's, with the number of elements, and how many were compared.

    Each step runs alone, on the simulator's values. Left out are those that call a mathematical function: its last bits
    depend on the instruction set.

    Args:
        graph: what the artifact was compiled from, optimised.
        feeds: the inputs by name.
        instance: the program, on any device.
    """
    with np.errstate(all="ignore"):
        simulated = graph.reference(feeds)
    nodes = {n.name: n for n in graph.nodes}
    instance.bind([np.ascontiguousarray(feeds[v]) for v in artifact.inputs])
    wrong, compared = {}, 0
    for i, step in enumerate(artifact.manifest["steps"]):
        integers = [v for v in step["outputs"] if simulated[v].dtype.kind in "iu"]
        if not integers or any(_calls_functions(graph, nodes[n]) for n in step["nodes"]):
            continue
        for value in step["inputs"]:
            if value not in graph.inputs:
                instance.write(value, simulated[value])
        instance.run_steps(i, i + 1)
        for value in integers:
            want = simulated[value]
            compared += want.size
            count = int(np.count_nonzero(instance.read(value) != want))
            if count:
                wrong[value] = count
    return wrong, compared


def _calls_functions(graph: Graph, node: Node) -> bool:
    return isinstance(node.op, Operator) and bool(node.op.c_functions(graph.input_types(node)))
