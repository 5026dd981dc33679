"""Parallel branches: several pointwise convolutions of one input in one pass over it, as in Inception modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.cycles import FLOAT_BYTES
from edgesmith.kernels.gemm.blocking import Blocking
from edgesmith.kernels.gemm.packed import ProductEmitter
from edgesmith.kernels.gemm.product import Product
from edgesmith.kernels.region import Region, epilogue_chains, region
from edgesmith.kernels.tile import Panels, candidates
from edgesmith.ops.conv import Conv

MAX_BRANCHES = 8
INPUT_BYTES_PER_NS = 100.0
STEP_NS = 60.0


def _is_pointwise(node: Node) -> bool:
    op = node.op
    return (
        isinstance(op, Conv)
        and op.group == 1
        and op.window.kernel == (1, 1)
        and op.window.strides == (1, 1)
        and not any(op.window.pads_begin + op.window.pads_end)
    )


def _reachable(graph: Graph, nodes: Sequence[Node]) -> set[str]:
    """Every value computed from the outputs of ``nodes``."""
    found = {v for n in nodes for v in n.outputs}
    start = min(graph.position[n.name] for n in nodes)
    for node in graph.nodes[start:]:
        if any(v in found for v in node.read):
            found.update(node.outputs)
    return found


@kernel
class ParallelGemm(Kernel):
    """Each task takes a block of rows through the packed weights of every branch while the rows are in cache."""

    name: ClassVar[str] = "parallel-gemm"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if not _is_pointwise(anchor):
            return
        readers = dict.fromkeys(graph.consumers[anchor.inputs[0]])
        siblings = [n for n in readers if _is_pointwise(n) and n.inputs[0] == anchor.inputs[0]]
        if anchor is not siblings[0] or not 2 <= len(siblings) <= MAX_BRANCHES:
            return
        dependent = _reachable(graph, siblings)
        nodes: list[Node] = []
        for sibling in siblings:
            chains = [c for c in epilogue_chains(graph, sibling) if not set(c.inputs) & dependent]
            nodes += chains[-1].nodes
        yield region(graph, sorted(nodes, key=lambda n: graph.position[n.name]), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        branches = _branches(problem)
        if len(branches) < 2:
            return Reject("a single branch")
        rows = set()
        for branch in branches:
            product = Product(branch)
            if product.reject:
                return Reject(f"{branch.anchor.name}: {product.reject}")
            if product.weights.nbytes > problem.target.l2_bytes // 2 // len(branches):
                return Reject(f"{branch.anchor.name}: its weights do not stay in the second-level cache")
            rows.add(product.rows)
        return None if len(rows) == 1 else Reject("branches differ in their number of rows")

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        products = [Product(b) for b in _branches(problem)]
        shapes = candidates(problem.target, products[0].rows, 4)
        return [{"rows": r} for r in sorted({s.rows for s in shapes})]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        products = [Product(b) for b in _branches(problem)]
        alone = sum(p.nanoseconds(_blocking(p, schedule["rows"])) for p in products)
        nbytes = problem.type(problem.anchor.inputs[0]).nbytes
        return STEP_NS + alone - (len(products) - 1) * min(nbytes / INPUT_BYTES_PER_NS, alone / 10)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        rows = schedule["rows"]
        operands = (*problem.region.inputs, *problem.region.outputs)
        constants: list[np.ndarray] = []
        functions: dict[str, None] = {}
        texts, calls = [], []
        tasks = 1
        for i, branch in enumerate(_branches(problem)):
            product = Product(branch)
            code = ProductEmitter(product, _blocking(product, rows)).code()
            tasks = code.tasks
            texts.append(
                code.text.replace("void @NAME@(", "static void @NAME@(").replace("@NAME@", f"@NAME@_branch{i}")
            )
            mine = [operands.index(v) for v in (*branch.region.inputs, *branch.region.outputs)]
            mine += [len(operands) + len(constants) + k for k in range(len(code.constants))]
            constants += code.constants
            functions.update(dict.fromkeys(code.functions))
            calls.append(f"void *const branch{i}[] = {{{', '.join(f'p[{k}]' for k in mine)}}};")
        w = Writer()
        w.lines("\n".join(texts))
        with w.block(SIGNATURE):
            for call in calls:
                w.line(call)
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                for i in range(len(calls)):
                    w.line(f"@NAME@_branch{i}(branch{i}, task, task + 1, scratch);")
        label = f"conv_parallel{len(calls)}_f32_{rows}"
        return Code(w.text(), label, tuple(constants), tasks, functions=tuple(functions))


def _branches(problem: Problem) -> list[Problem]:
    """The problem of each branch: a convolution of the shared input with the operators that follow it."""
    graph, nodes = problem.graph, problem.region.nodes
    shared = problem.anchor.inputs[0]
    members: dict[str, list[Node]] = {}
    owner: dict[str, str] = {}
    for node in nodes:
        if _is_pointwise(node) and node.inputs[0] == shared:
            name = node.name
        else:
            name = next((owner[v] for v in node.read if v in owner), "")
            if not name:
                return []
        members.setdefault(name, []).append(node)
        owner.update(dict.fromkeys(node.outputs, name))
    return [Problem(graph, region(graph, m, m[0]), problem.places, problem.target) for m in members.values()]


def _blocking(product: Product, rows: int) -> Blocking:
    """All panels for as many tiles of ``rows`` rows as stay in the first-level cache, with the best width."""
    target = product.problem.target
    vectors = -(-product.channels // target.lanes)
    tiles = -(-product.rows // rows)
    block = max(1, min(tiles, target.l1_bytes // max(2 * product.steps * FLOAT_BYTES * rows, 1)))
    shapes = [t for t in candidates(target, product.rows, vectors) if t.rows == rows]
    tile = min(shapes, key=product.nanoseconds)
    return Blocking(
        tile, max(product.steps, 1), block, Panels(product.channels, target.lanes, tile.vectors).count, False
    )
