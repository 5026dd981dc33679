"""The interface of kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np

from edgesmith.ir import Cost, DType, Graph, Node, TensorType, View
from edgesmith.kernels.region import Region
from edgesmith.kernels.zeros import zeros_of
from edgesmith.ops import Array
from edgesmith.ops.cast import widens_half
from edgesmith.registry import Registry
from edgesmith.target import Target

__all__ = [
    "KERNELS",
    "PREPARE_SIGNATURE",
    "SIGNATURE",
    "Code",
    "Kernel",
    "Place",
    "Problem",
    "Reject",
    "Schedule",
    "kernel",
    "operands",
    "refusal",
    "unpack",
]

Schedule = Mapping[str, int]
"""The free choices of a kernel for one problem, such as the register tile: name -> value."""


@dataclass(frozen=True)
class Place:
    """Where a value lies: a view of the buffer that is named after its root value."""

    root: str
    view: View


@dataclass(frozen=True)
class Reject:
    """Why a kernel does not take a problem, in words for the user."""

    reason: str


@dataclass(frozen=True, eq=False)
class Problem:
    """A region with the places of its inputs and outputs on a target."""

    graph: Graph
    region: Region
    places: Mapping[str, Place]
    target: Target

    @property
    def anchor(self) -> Node:
        return self.region.anchor

    def view(self, value: str) -> View:
        """The view of a run-time value, offset 0."""
        return self.places[value].view.at_origin

    def type(self, value: str) -> TensorType:
        return self.graph.type(value)

    def pointer(self, value: str) -> int:
        """Position of a region input or output among the step's operands."""
        return (*self.region.inputs, *self.region.outputs).index(value)

    @cached_property
    def signature(self) -> str:
        """Everything that decides how fast a kernel computes it: operators and their wiring, types, views, target.

        Names and values do not enter, but for where the zeros of sparse weights lie: layers with equal signatures share
        their measurements.
        """
        numbers = {v: f"i{i}" for i, v in enumerate(self.region.inputs)}
        lines = [repr(self.target)]
        for node in self.region.nodes:
            for value in node.read:
                if value in self.graph.constants and value not in numbers:
                    pattern = zeros_of(self.graph.constants[value]).pattern
                    zeros = f" zeros {pattern}" if pattern else ""
                    numbers[value] = f"c{len(numbers)}:{self.type(value)}{zeros}"
            numbers.update((v, f"v{len(numbers) + i}") for i, v in enumerate(node.outputs))
            reads = ", ".join(numbers[v] if v else "-" for v in node.inputs)
            lines.append(f"{', '.join(numbers[v] for v in node.outputs)} = {node.op}({reads})")
        for value in (*self.region.inputs, *self.region.outputs):
            view = self.view(value)
            lines.append(f"{numbers[value]}: {view.dtype}{list(view.shape)} strides {list(view.strides)}")
        return "\n".join(lines)

    @property
    def cost(self) -> Cost:
        return sum((self.graph.cost(n) for n in self.region.nodes), Cost())

    @property
    def bytes_moved(self) -> int:
        """Bytes that must be read and written at least once, constants included."""
        constants = {v for n in self.region.nodes for v in n.read if v in self.graph.constants}
        return sum(self.type(v).nbytes for v in (*self.region.inputs, *self.region.outputs, *sorted(constants)))


@dataclass(frozen=True, eq=False)
class Code:
    """What a kernel emits for one problem.

    The function is ``void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch)``: it computes tasks
    ``begin`` to ``end``; ``p`` holds the region's inputs, its outputs, then the constants.

    Args:
        text: C text in which ``@NAME@`` stands for the function's name.
        label: middle part of that name: operator, algorithm, dtype, epilogue and tile.
        constants: arrays that the function reads, packed as it wants them.
        tasks: number of independent tasks.
        scratch_bytes: memory that each worker needs while it runs.
        functions: math functions (``c.mathfunctions``) that the text calls, dependencies first.
        prepared_bytes: memory that lasts as long as the program's context and is filled once, from the constants. The
            text then also defines ``void @NAME@_prepare(void *const *p)``, and both functions find that memory, aligned
            to 64 bytes, behind the constants; ``prepare`` reads constants only.
        task_costs: cost of each task in some unit, 1 or more, where they differ much; threads get equal shares of it.
        language: a backend for another language shares everything but the text.
    """

    text: str
    label: str
    constants: tuple[np.ndarray, ...] = ()
    tasks: int = 1
    scratch_bytes: int = 0
    functions: tuple[str, ...] = ()
    prepared_bytes: int = 0
    task_costs: tuple[int, ...] = ()
    language: str = "c"


class Kernel(ABC):
    """One algorithm for one kind of region."""

    name: ClassVar[str]
    widens: ClassVar[bool] = False
    """Whether it computes regions with a Cast from fp16 before the anchor (``widening_chains``)."""
    always_prepares: ClassVar[bool] = False
    """Whether its code has memory that ``prepare`` fills, whatever the schedule."""

    @abstractmethod
    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        """Regions around ``anchor`` that this kernel may compute, smallest first."""

    @abstractmethod
    def accepts(self, problem: Problem) -> Reject | None:
        """None when it can compute the problem; otherwise the reason. ``refusal`` asks it."""

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        """The tuning space: every schedule worth considering for an accepted problem."""
        return ({},)

    @abstractmethod
    def cost(self, problem: Problem, schedule: Schedule) -> float:
        """Predicted time in nanoseconds on one core."""

    @abstractmethod
    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        """C text and packed constants."""

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray | None:
        """How far the anchor's result may lie from the exact one by rounding, for each element.

        None: the kernel sums products one by one, so that ``verify.tolerance`` derives it from the operator.

        Args:
            node: the anchor.
            operands: values of its inputs.
        """
        return None

    def prepares(self, problem: Problem, schedule: Schedule) -> bool:
        """Whether its code has memory that ``prepare`` fills (``Code.prepared_bytes``)."""
        return self.always_prepares

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        """Inputs whose buffer the output may reuse because each element is read just before it is overwritten."""
        return ()


def refusal(kernel: Kernel, problem: Problem) -> Reject | None:
    """Why a kernel does not take a problem; None: it does."""
    first, anchor = problem.region.nodes[0], problem.anchor
    widened = widens_half(problem.graph, first) and first.outputs[0] in anchor.inputs
    if widened and first is not anchor and not kernel.widens:
        return Reject(f"reads no {DType.F16}")
    return kernel.accepts(problem)


KERNELS: Registry[Kernel] = Registry("kernel", "edgesmith.kernels")

T = TypeVar("T", bound=Kernel)


def kernel(cls: type[T]) -> type[T]:
    """Class decorator: registers a kernel under its name."""
    KERNELS.register(cls.name)(cls())
    return cls


def operands(problem: Problem) -> dict[str, Array]:
    """Run-time operands as C arrays, named ``x0``, ``x1``, ... for inputs and ``y0``, ... for outputs."""
    inputs = {v: Array(f"x{i}", problem.view(v)) for i, v in enumerate(problem.region.inputs)}
    return inputs | {v: Array(f"y{i}", problem.view(v)) for i, v in enumerate(problem.region.outputs)}


def unpack(
    problem: Problem,
    constants: Sequence[tuple[str, np.ndarray]] = (),
    prepared: str | None = None,
    element: DType = DType.F32,
) -> str:
    """The declarations at the top of a kernel function: typed pointers to operands and constants.

    Args:
        prepared: name of a pointer to the prepared memory.
        element: of that memory.
    """
    lines = []
    for value, operand in operands(problem).items():
        qualifier = "" if value in problem.region.outputs else "const "
        kind = f"{qualifier}{operand.view.dtype.c} *"
        lines.append(f"{kind}const {operand.pointer} = ({kind})p[{problem.pointer(value)}];")
    first = len(problem.region.inputs) + len(problem.region.outputs)
    for i, (name, array) in enumerate(constants):
        kind = f"const {TensorType.of(array).dtype.c} *"
        lines.append(f"{kind}const {name} = ({kind})p[{first + i}];")
    if prepared is not None:
        kind = f"const {element.c} *"
        lines.append(f"{kind}const {prepared} = ({kind})p[{first + len(constants)}];")
    return "\n".join(lines)


SIGNATURE = "void @NAME@(void *const *p, int32_t begin, int32_t end, void *scratch)"
"""C declaration of every kernel function."""

PREPARE_SIGNATURE = "void @NAME@_prepare(void *const *p)"
"""C declaration of the function that fills the prepared memory."""
