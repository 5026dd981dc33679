"""Post-training quantisation: ranges from calibration data, then a graph of QuantizeLinear and DequantizeLinear."""

from edgesmith.quantize.parameters import Parameters, QParams
from edgesmith.quantize.post_training import Quantized, quantize
from edgesmith.quantize.samples import Samples
from edgesmith.quantize.settings import Settings
from edgesmith.quantize.sources import NO_DATA, Source, open_samples

__all__ = [
    "NO_DATA",
    "Parameters",
    "QParams",
    "Quantized",
    "Samples",
    "Settings",
    "Source",
    "open_samples",
    "quantize",
]
