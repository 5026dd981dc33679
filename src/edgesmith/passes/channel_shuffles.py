"""Channel shuffles absorbed by the weights of the convolutions that read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops import Elementwise
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.concat import Concat
from edgesmith.ops.conv import Conv
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.ops.transpose import Transpose
from edgesmith.passes.editing import Names
from edgesmith.passes.engine import Skipped, rewrite

RULE = "absorb-shuffles"
_SOURCE_BITS = 32


@rewrite(RULE)
def absorb_shuffles(graph: Graph) -> Iterator[Patch | Skipped]:
    """A convolution reads shuffled channels in an order that is cheap to gather, with its weights permuted to match.

    A channel shuffle (Zhang et al., arXiv:1707.01083: Reshape, Transpose, Reshape), and every Concat, Split and Slice
    of channels around it, is followed channel by channel back to the values that were computed. What reads the result
    then takes runs of consecutive channels of those: in ShuffleNet v2 a few copies of whole runs instead of one copy by
    single channels. Depthwise convolutions, pools and unary operators pass the new order on.

    Sums over input channels are taken in another order.
    """
    shuffles = {n.name for n in graph.nodes if _shuffled_groups(graph, n)}
    blocked: dict[str, str] = {}
    while len(blocked) < len(shuffles):
        channels = _trace(graph, shuffles - blocked.keys())
        refusals = list(_refusals(graph, channels))
        if not refusals:
            patch = _Rewriting(graph, channels).patch()
            if patch is not None:
                yield patch
            break
        for value, reason in refusals:
            blocked.update((name, reason) for name in channels.shuffles[value] if name not in blocked)
    for name, reason in blocked.items():
        yield Skipped(name, reason)


def _shuffled_groups(graph: Graph, last: Node) -> int:
    """Number of groups of the channel shuffle that ends at a Reshape; 0 when it ends none."""
    transpose = graph.producer(last.inputs[0]) if isinstance(last.op, Reshape) else None
    if transpose is None or not isinstance(transpose.op, Transpose):
        return 0
    first = graph.producer(transpose.inputs[0])
    shape = graph.type(last.outputs[0]).shape
    rank = len(shape)
    if first is None or not isinstance(first.op, Reshape) or graph.type(first.inputs[0]).shape != shape or rank < 3:
        return 0
    split = first.op.shape
    swaps = transpose.op.perm == (0, 2, 1, *range(3, rank + 1))
    return split[1] if swaps and len(split) == rank + 1 and (split[0], *split[3:]) == (shape[0], *shape[2:]) else 0


@dataclass
class _Channels:
    """Where the channels of moved values come from.

    Args:
        roots: values that are computed, not moved; a code is ``position in roots << 32 | channel``.
        codes: value -> code of each channel.
        shuffles: value -> the shuffles that it passed.
        moves: nodes that were followed (of a shuffle the last one).
    """

    roots: list[str] = field(default_factory=list)
    codes: dict[str, np.ndarray] = field(default_factory=dict)
    shuffles: dict[str, frozenset[str]] = field(default_factory=dict)
    moves: set[str] = field(default_factory=set)


def _trace(graph: Graph, shuffles: set[str]) -> _Channels:
    found = _Channels()

    def codes(value: str) -> np.ndarray:
        if value not in found.codes:
            root = len(found.roots) << _SOURCE_BITS
            found.roots.append(value)
            found.codes[value] = root + np.arange(graph.type(value).shape[1], dtype=np.int64)
            found.shuffles[value] = frozenset()
        return found.codes[value]

    for node in graph.nodes:
        rank = graph.type(node.outputs[0]).rank
        source = node.inputs[0] if node.inputs else ""
        parts: list[np.ndarray] = []
        if rank < 3 or any(v in graph.constants for v in node.read):
            continue
        if node.name in shuffles:
            source = _start(graph, node)
            grouped = codes(source).reshape(_shuffled_groups(graph, node), -1)
            parts = [np.ascontiguousarray(grouped.T).reshape(-1)]
        elif isinstance(node.op, Concat) and node.op.axis == 1:
            parts = [np.concatenate([codes(v) for v in node.inputs])]
        elif isinstance(node.op, Split) and node.op.axis == 1:
            parts = np.split(codes(source), np.cumsum(node.op.lengths)[:-1])
        elif isinstance(node.op, Slice) and _keeps_space(graph, node.op, source):
            start, length, step = node.op.starts[1], node.op.lengths[1], node.op.steps[1]
            parts = [codes(source)[start + step * np.arange(length)]]
        if not parts:
            continue
        found.moves.add(node.name)
        own = {node.name} & shuffles
        passed = own.union(*(found.shuffles[v] for v in ((source,) if own else node.inputs)))
        for value, part in zip(node.outputs, parts, strict=True):
            found.codes[value], found.shuffles[value] = part, frozenset(passed)
    return found


def _start(graph: Graph, last: Node) -> str:
    """The value that the channel shuffle ending at ``last`` shuffles."""
    transpose = graph.producers[last.inputs[0]]
    return graph.producers[transpose.inputs[0]].inputs[0]


def _keeps_space(graph: Graph, op: Slice, source: str) -> bool:
    shape = graph.type(source).shape
    return all(
        (start, length, step) == (0, n, 1)
        for a, (start, length, step, n) in enumerate(zip(op.starts, op.lengths, op.steps, shape, strict=True))
        if a != 1
    )


def _readers(graph: Graph, channels: _Channels, value: str) -> list[Node]:
    """Nodes that compute from a moved value, not those that move it on."""
    return [
        node
        for node in {n.name: n for n in graph.consumers[value]}.values()
        if not _starts_shuffle(graph, channels, node) and node.name not in channels.moves
    ]


def _starts_shuffle(graph: Graph, channels: _Channels, first: Node) -> bool:
    """True for the first Reshape of a traced shuffle that nothing else reads."""
    transpose = graph.sole_consumer(first.outputs[0]) if isinstance(first.op, Reshape) else None
    last = graph.sole_consumer(transpose.outputs[0]) if transpose is not None else None
    return last is not None and last.name in channels.moves


def _refusals(graph: Graph, channels: _Channels) -> Iterator[tuple[str, str]]:
    """Shuffled values with the reason why their channels have to be in order."""
    for value, passed in channels.shuffles.items():
        if not passed:
            continue
        if value in graph.outputs:
            yield value, f"{value} is a graph output"
        for node in _readers(graph, channels, value):
            reason = _needs_order(graph, node, value)
            if reason:
                yield value, reason
                break


def _needs_order(graph: Graph, node: Node, value: str) -> str | None:
    """Why ``node`` cannot read the channels of ``value`` in another order; None when it can."""
    if isinstance(node.op, Conv):
        if any(v not in graph.constants for v in node.read[1:]) or len(graph.consumers[node.inputs[1]]) > 1:
            return f"the weights of {node.name} are shared or computed at run time"
        if node.op.group == 1:
            return None
    if not _by_channel(graph, node):
        return f"{node.name} ({node.op.name}) needs the channels in order"
    if node.outputs[0] in graph.outputs:
        return f"{node.outputs[0]} is a graph output"
    reasons = (_needs_order(graph, n, node.outputs[0]) for n in graph.consumers[node.outputs[0]])
    return next((r for r in reasons if r), None)


def _by_channel(graph: Graph, node: Node) -> bool:
    """True for an operator that computes each output channel from the same channel of its only run-time input."""
    if isinstance(node.op, Conv):
        channels = graph.type(node.inputs[0]).shape[1]
        return node.op.group == channels == graph.type(node.outputs[0]).shape[1]
    if len(node.inputs) != 1 or len(node.outputs) != 1:
        return False
    return isinstance(node.op, Elementwise | MaxPool | AveragePool)


class _Rewriting:
    """Builds the patch after which all readers of shuffled values take runs of channels."""

    def __init__(self, graph: Graph, channels: _Channels) -> None:
        self._graph, self._channels = graph, channels
        self._names = Names(graph)
        self._insert: list[Node] = []
        self._removed: set[str] = set()
        self._constants: dict[str, np.ndarray] = {}
        self._made: dict[bytes, str] = {}

    def patch(self) -> Patch | None:
        for value, passed in self._channels.shuffles.items():
            readers = _readers(self._graph, self._channels, value) if passed else []
            if readers:
                codes = self._channels.codes[value]
                order = np.argsort(codes, kind="stable")
                source = self._gathered(codes[order], value)
                for node in readers:
                    self._reordered(node, value, source, order)
        return Patch(RULE, frozenset(self._removed), tuple(self._insert), self._constants) if self._insert else None

    def _gathered(self, codes: np.ndarray, value: str) -> str:
        """The value that has these channels, in ascending order of their codes."""
        key = codes.tobytes()
        if key not in self._made:
            runs = np.split(codes, np.flatnonzero(np.diff(codes) != 1) + 1)
            parts = [
                self._run(int(run[0]) >> _SOURCE_BITS, int(run[0]) & (1 << _SOURCE_BITS) - 1, len(run)) for run in runs
            ]
            self._made[key] = parts[0]
            if len(parts) > 1:
                self._made[key] = self._names(f"{value}:gathered")
                name = self._names(f"{value}:gather")
                self._insert.append(Node(name, Concat(1), tuple(parts), (self._made[key],)))
        return self._made[key]

    def _run(self, root: int, start: int, length: int) -> str:
        """Consecutive channels of a root."""
        value = self._channels.roots[root]
        shape = self._graph.type(value).shape
        if length == shape[1]:
            return value
        key = f"{root} {start} {length}".encode()
        if key not in self._made:
            self._made[key] = self._names(f"{value}:channels{start}-{start + length - 1}")
            starts, lengths = [0] * len(shape), list(shape)
            starts[1], lengths[1] = start, length
            op = Slice(tuple(starts), tuple(lengths), (1,) * len(shape))
            self._insert.append(Node(self._names(f"{self._made[key]}:slice"), op, (value,), (self._made[key],)))
        return self._made[key]

    def _reordered(self, node: Node, value: str, source: str, order: np.ndarray) -> None:
        """Let ``node`` read ``source``, whose channel i is channel ``order[i]`` of ``value``."""
        inputs = [source if v == value else v for v in node.inputs]
        self._removed.add(node.name)
        if isinstance(node.op, Conv):
            axis = 1 if node.op.group == 1 else 0
            for i, operand in enumerate(node.inputs[1:], 1):
                if operand and (i == 1 or axis == 0):
                    inputs[i] = self._names(f"{operand}:permuted")
                    permuted = self._graph.constants[operand].take(order, axis)
                    self._constants[inputs[i]] = np.ascontiguousarray(permuted)
            if node.op.group == 1:
                self._insert.append(replace(node, inputs=tuple(inputs)))
                return
        (output,) = node.outputs
        permuted_output = self._names(f"{output}:permuted")
        self._insert.append(replace(node, inputs=tuple(inputs), outputs=(permuted_output,)))
        for reader in {n.name: n for n in self._graph.consumers[output]}.values():
            self._reordered(reader, output, permuted_output, order)
