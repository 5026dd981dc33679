"""Quantisation-aware training whose result compiles to integers.

A network is prepared, trained in any loop, and converted to a QDQ model:

    from edgesmith.compress import qat

    student = qat.prepare(network, example, qat.Settings(weight_bits=4, keep=("conv1", "fc")), init=batches)
    optimizer = torch.optim.Adam(qat.parameter_groups(student, lr=5e-4))
    schedule = qat.Schedule(epochs)
    for epoch in range(epochs):
        schedule.on_epoch(student, epoch)
        ...  # as without quantisation
    artifact = edgesmith.compile(qat.convert(student).model)

What is rounded is what post-training quantisation rounds (docs/quantisation.md), so integers go from layer to layer.
``student.eval()`` computes with the integers of the QDQ model; ``qat.simulate(student)`` gives the compiled program's
results to the bit. They differ where a number lies within rounding of a tie between two integers.
"""

from edgesmith.compress.qat.change import change
from edgesmith.compress.qat.convert import Converted, convert
from edgesmith.compress.qat.layer import QuantizedLayer
from edgesmith.compress.qat.prepare import prepare
from edgesmith.compress.qat.quantized_module import Quantization, QuantizedModule, layers
from edgesmith.compress.qat.schedule import (
    Schedule,
    advance,
    clipping_penalty,
    decay_clipping,
    freeze,
    parameter_groups,
)
from edgesmith.compress.qat.settings import Settings
from edgesmith.compress.qat.simulate import Simulation, simulate

__all__ = [
    "Converted",
    "Quantization",
    "QuantizedLayer",
    "QuantizedModule",
    "Schedule",
    "Settings",
    "Simulation",
    "advance",
    "change",
    "clipping_penalty",
    "convert",
    "decay_clipping",
    "freeze",
    "layers",
    "parameter_groups",
    "prepare",
    "simulate",
]
