"""Executed instructions of WebAssembly, by the fuel that the engine takes for them."""

from __future__ import annotations

from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.counting.counts import StepCounts
from edgesmith.device import Artifact
from edgesmith.device.wasm import WasmInstance, Wasmtime

__all__ = ["count_in_engine"]


def count_in_engine(artifact: Artifact) -> StepCounts:
    """Instructions of one inference, on the inputs of the self-test, and of each step.

    Raises:
        TargetError: the engine is not installed.
        ArtifactError: the artifact has no library, or its program fails.
    """
    engine = Wasmtime.of(artifact.target)
    steps = tuple(artifact.manifest["steps"])
    with WasmInstance(artifact, counts=True) as instance:

        def run(begin: int, end: int) -> int:
            before = instance.executed
            instance.run_steps(begin, end)
            return instance.executed - before

        instance.bind(selftest_inputs(list(artifact.inputs.values())))
        each = tuple(run(i, i + 1) for i in range(len(steps)))
        whole = run(0, len(steps))
    return StepCounts(steps, whole, each, "instructions of WebAssembly", engine.name)
