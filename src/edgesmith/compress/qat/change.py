"""Other bits for a module that is being trained."""

from __future__ import annotations

from dataclasses import replace

from edgesmith.compress.qat.folding import scaled, starting_gain
from edgesmith.compress.qat.quantized_module import QuantizedModule, check_whole, layers
from edgesmith.compress.qat.settings import Settings
from edgesmith.compress.qat.weights_start import weights_started
from edgesmith.errors import BadInput

__all__ = ["change"]


def change(module: QuantizedModule, settings: Settings) -> None:
    """Quantise the weights of a prepared module in another way, such as in fewer bits, from the weights that it has.

    Layers whose bits stay keep their scales; values between layers are rounded as before. Make the optimiser anew: the
    learned scales are other parameters.

    Raises:
        BadInput: a layer would stay in floats, or read something else, or the module is not what ``prepare`` gave.
    """
    check_whole(module, "change")
    for path, layer in layers(module):
        bits, before = settings.layer(path), module.quantization.settings.layer(path)
        if bits is None or bits.reads is not layer.reads:
            raise BadInput("that needs a module prepared anew", where=f"{path}: change")
        if bits != before:
            _, bias, _ = layer.folded()
            weights = scaled(layer.weight, starting_gain(layer.weight, layer.norm))
            source = None if layer.source is None else layer.source.parameters_now()
            quantizer = weights_started(weights, bias if layer.is_biased else None, source, bits, settings)
            layer.restart(quantizer.to(weights.device))
    module.quantization = replace(module.quantization, settings=settings)
