"""Where the scales of weights start: as post-training quantisation chooses them."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from edgesmith.compress.qat.quantizers import WEIGHTS, WeightQuantizer
from edgesmith.compress.qat.settings import BLOCKS, LayerBits, Settings
from edgesmith.ir import DType, Node
from edgesmith.ops.matmul import MatMul
from edgesmith.quantize import QParams
from edgesmith.quantize.block_weights import block_codes
from edgesmith.quantize.products import Product
from edgesmith.quantize.scales import weight_parameters
from edgesmith.quantize.settings import BLOCKS as BLOCK_SIZES
from edgesmith.quantize.sign_weights import sign_weights
from edgesmith.quantize.weight_edit import LEAST_ELEMENTS

__all__ = ["has_blocks", "weights_started"]

_SIGNS = QParams(np.asarray(1.0, np.float32), np.asarray(0, np.uint8), DType.U8)


def weights_started(
    weights: Tensor, bias: Tensor | None, source: QParams | None, bits: LayerBits, settings: Settings
) -> WeightQuantizer:
    """The quantiser of a layer's weights.

    Args:
        weights: folded, output channels along axis 0.
        bias: folded, where the program adds it to the sums.
        source: parameters of the layer's input; None: it reads no integers.
    """
    if bits.weights == BLOCKS:
        _, scale = block_codes(_array(weights), 1, min(settings.block, weights.shape[1]))
        start = QParams(scale, np.zeros(scale.shape, np.int8), DType.I8, None, -8, 7)
        return WEIGHTS[BLOCKS](start, weights, bits.bits)
    rounding = settings.rounding(bits)
    node = Node("layer", MatMul(), ("x", "w"), ("y",))
    form = Product(node, _array(weights), 0, None if bias is None else _array(bias))
    start = weight_parameters(form, source or _SIGNS, rounding)
    if rounding.is_signs:
        start, _ = sign_weights(form, start, rounding)
    return WEIGHTS[bits.weights](start, weights, bits.bits)


def has_blocks(weights: Tensor, block: int) -> bool:
    """Whether weights are enough for blocks, which divide what is summed over evenly."""
    inputs = weights.shape[1]
    return weights.numel() >= LEAST_ELEMENTS and inputs >= min(BLOCK_SIZES) and inputs % min(block, inputs) == 0


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
