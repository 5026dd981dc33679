"""The graph: typed, in static single assignment form, frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np

from edgesmith.errors import GraphError
from edgesmith.ir.op import Cost, Op
from edgesmith.ir.types import TensorType

__all__ = ["Graph", "Node"]


@dataclass(frozen=True)
class Node:
    """One operation. ``inputs`` holds value names (``""``: an optional input that is absent)."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    origin: tuple[str, ...] = ()
    """Names of the ONNX nodes that it comes from."""

    @property
    def read(self) -> tuple[str, ...]:
        """The inputs that are present."""
        return tuple(v for v in self.inputs if v)


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order with the types of all values.

    Args:
        inputs: values that the caller provides, in the model's order.
        outputs: values that the caller receives, in the model's order.
        types: type of every value.
        constants: values known at compile time.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]
    constants: Mapping[str, np.ndarray]
    name: str = field(default="model")

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", MappingProxyType(dict(self.types)))
        object.__setattr__(self, "constants", MappingProxyType(dict(self.constants)))

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        return {value: node for node in self.nodes for value in node.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """Nodes that read a value, once for each reading."""
        found: dict[str, list[Node]] = {value: [] for value in self.types}
        for node in self.nodes:
            for value in node.read:
                found[value].append(node)
        return {value: tuple(nodes) for value, nodes in found.items()}

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Rank of each node in topological order, by name."""
        return {node.name: i for i, node in enumerate(self.nodes)}

    def producer(self, value: str) -> Node | None:
        return self.producers.get(value)

    def sole_consumer(self, value: str) -> Node | None:
        """The one node that reads ``value``, provided nothing else does and it is no graph output."""
        readers = self.consumers[value]
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def type(self, value: str) -> TensorType:
        return self.types[value]

    def input_types(self, node: Node) -> tuple[TensorType | None, ...]:
        return tuple(self.types[v] if v else None for v in node.inputs)

    def output_types(self, node: Node) -> tuple[TensorType, ...]:
        return tuple(self.types[v] for v in node.outputs)

    def cost(self, node: Node) -> Cost:
        return node.op.cost(self.input_types(node), self.output_types(node))

    def constant(self, value: str) -> np.ndarray | None:
        return self.constants.get(value)

    @property
    def parameters(self) -> int:
        """Number of elements of all constants that nodes read."""
        read = {v for node in self.nodes for v in node.read}
        return sum(a.size for v, a in self.constants.items() if v in read)

    def check(self, nodes: Iterable[Node] | None = None) -> None:
        """Verify the invariants; raises ``GraphError``.

        Args:
            nodes: nodes whose types to infer anew (default: all); the structure is always checked whole.
        """
        known = set(self.inputs) | set(self.constants)
        names: set[str] = set()
        for node in self.nodes:
            if node.name in names:
                raise GraphError("two nodes share this name", where=node.name)
            names.add(node.name)
            for value in node.read:
                if value not in known:
                    raise GraphError(f"reads {value!r} before anything produces it", where=node.name)
            for value in node.outputs:
                if value in known:
                    raise GraphError(f"value {value!r} is produced twice", where=node.name)
                if value not in self.types:
                    raise GraphError(f"value {value!r} has no type", where=node.name)
                known.add(value)
        for value in (*self.inputs, *self.outputs):
            if value not in known or value not in self.types:
                raise GraphError(f"graph input or output {value!r} does not exist", where=self.name)
        for value, array in self.constants.items():
            if TensorType.of(array) != self.types.get(value):
                raise GraphError(
                    f"constant is {TensorType.of(array)}, its type says {self.types.get(value)}", where=value
                )
        for node in self.nodes if nodes is None else nodes:
            inferred = node.op.infer(self.input_types(node))
            if inferred != self.output_types(node):
                declared = ", ".join(map(str, self.output_types(node)))
                raise GraphError(
                    f"{node.op.name} gives {', '.join(map(str, inferred))}, declared {declared}", where=node.name
                )

    def reference(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every value, computed by the operators' numpy references."""
        values: dict[str, np.ndarray] = {**self.constants, **feeds}
        for node in self.nodes:
            results = node.op.reference(*(values[v] if v else None for v in node.inputs))
            values.update(zip(node.outputs, results, strict=True))
        return values

    def text(self) -> str:
        """One line a node, for people and for golden files."""
        lines = [f"graph {self.name}"]
        lines += [f"  in  {v}: {self.types[v]}" for v in self.inputs]
        for node in self.nodes:
            reads = ", ".join(f"{v}:const" if v in self.constants else v or "-" for v in node.inputs)
            makes = ", ".join(f"{v}: {self.types[v]}" for v in node.outputs)
            lines.append(f"  {makes} = {node.op}({reads})")
        lines += [f"  out {v}: {self.types[v]}" for v in self.outputs]
        return "\n".join(lines) + "\n"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over structure, types and constants: equal graphs have equal digests."""
        sha = hashlib.sha256(self.text().encode())
        for value in sorted(self.constants):
            sha.update(f"{value}: {self.types[value]}\n".encode())
            sha.update(np.ascontiguousarray(self.constants[value]).data)
        return sha.hexdigest()
