"""How to add a kernel.

A kernel is one algorithm for one kind of region of the graph: one file in ``src/edgesmith/kernels/`` with one class.

* ``regions`` proposes what it could compute around a node: the node alone, or with the elementwise operators that
  follow it (``epilogue_chains``). The plan takes the regions that save the most predicted time.
* ``accepts`` gives None, or the reason why not, in words that ``edgesmith why`` prints.
* ``schedules`` is the tuning space: the free choices, such as the tile.
* ``cost`` predicts nanoseconds; the kernel and schedule with the lowest prediction win. Selection never changes when a
  kernel is added.
* ``emit`` gives the C text, the constants packed as the kernel reads them, and the number of independent tasks. The
  vector layer (``edgesmith/c/vector.py``) hides the width of the registers.

Being registered is enough to be tested: ``tests/kernels`` runs every kernel on every case of every operator that it
accepts, on every instruction set of the machine, whole and task by task.

This guide runs: it adds a kernel for Neg, compiles a model with it, and shows that the plan chose it and why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from onnx import TensorProto, helper

import edgesmith
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels import Code, Kernel, Problem, Region, Reject, Schedule, kernel
from edgesmith.kernels.base import SIGNATURE, unpack
from edgesmith.kernels.region import region


@kernel
class SignFlip(Kernel):
    """-x, ``unroll`` registers at a time; the rest one by one."""

    name: ClassVar[str] = "sign-flip"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if anchor.op.name == "Neg":
            yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        if problem.anchor.op.name != "Neg" or len(problem.region.nodes) > 1:
            return Reject("computes Neg alone")
        x, y = problem.view(problem.region.inputs[0]), problem.view(problem.region.outputs[0])
        if x.dtype is not DType.F32:
            return Reject(f"computes f32, this is {x.dtype}")
        if problem.target.isa is None:
            return Reject("needs vectors, the target is plain C")
        if not (x.is_dense() and x.same_place(y)):
            return Reject("needs gapless memory, in and out in the same order")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return tuple({"unroll": n} for n in (1, 2, 4))

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        """A load and a store a register; the loop's own work is shared by the unrolled part."""
        registers = problem.type(problem.region.outputs[0]).size / problem.target.lanes
        return 5 + registers * (0.1 + 0.05 / schedule["unroll"])

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        size, unroll = problem.type(problem.region.outputs[0]).size, schedule["unroll"]
        step = problem.target.lanes * unroll
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem))
            w.line("(void)scratch;")
            w.line("if (begin >= end) return;")
            w.line("int32_t i = 0;")
            with w.block(f"for (; i + {step} <= {size}; i += {step})"):
                for part in range(unroll):
                    at = f"i + {part * problem.target.lanes}"
                    w.line(f"es_store(y0 + {at}, -es_load(x0 + {at}));")
            w.line(f"for (; i < {size}; ++i) y0[i] = -x0[i];")
        return Code(w.text(), f"neg_sign_flip_f32_{unroll}")


def main() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1001])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1001])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "flip", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with tempfile.TemporaryDirectory() as folder:
        artifact = edgesmith.compile(model, output=Path(folder) / "flip", cache=False)  # verifies against ONNX Runtime
        (step,) = artifact.manifest["steps"]
    for candidate in step["considered"]:
        reason = candidate.get("reason") or f"predicted {candidate['predicted_ns']} ns, {candidate['schedule']}"
        print(f"{candidate['kernel']:12} {reason}")
    assert step["kernel"] == ("sign-flip" if artifact.manifest["isas"] else "elementwise")


if __name__ == "__main__":
    main()
