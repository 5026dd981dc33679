"""Weights stored in 4 bits with a scale for each block along the axis that is summed over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgesmith.ir import Graph, Node
from edgesmith.ops.block_scales import DequantizeLinearByBlock
from edgesmith.ops.conv import Conv
from edgesmith.quantize.notices import Notice
from edgesmith.quantize.placement import Role, check_names, is_allowed, role
from edgesmith.quantize.products import product
from edgesmith.quantize.settings import Settings
from edgesmith.quantize.weight_edit import LEAST_ELEMENTS, Rounded, WeightEdit

__all__ = ["block_codes", "block_weights"]

_LOW, _HIGH = -8, 7
_SHRINKS = np.linspace(1.0, 0.7, 13)
"""Shares of the scale that cuts nothing off, of which the one with the least squared error is taken."""


def block_weights(graph: Graph, settings: Settings) -> Rounded:
    """Weights of Conv, Gemm and MatMul as 4-bit integers, and a DequantizeLinear by block behind each.

    Blocks lie along the axis that is summed over: the input channels of a convolution. A layer with fewer has one
    block. Where blocks do not divide it evenly, the layer stays in floats. Scales are numbers of fp16.

    Raises:
        BadInput: ``exclude`` or ``only`` name what the graph does not have.
    """
    check_names(graph, settings)
    edit = _Edit(graph, settings)
    for node in graph.nodes:
        if role(node.op) is Role.PRODUCT:
            edit.node(node)
    return edit.result()


def block_codes(weights: np.ndarray, axis: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """i8 integers from -8 to 7, and f32 scales that fp16 can hold: one for each ``block`` along ``axis``.

    Of several scales for a block the one whose integers are nearest to the weights is taken.
    """
    moved = np.moveaxis(weights.astype(np.float64), axis, -1)
    blocks = moved.reshape(*moved.shape[:-1], -1, block)
    largest = np.abs(blocks).max(-1, keepdims=True)
    best_error = np.full(largest.shape, np.inf)
    best_scale = np.ones(largest.shape)
    for share in _SHRINKS:
        with np.errstate(over="ignore"):
            scale = (largest / _HIGH * share).astype(np.float16).astype(np.float64)
        scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
        error = np.square(blocks - _codes(blocks, scale) * scale).sum(-1, keepdims=True)
        better = error < best_error
        best_error, best_scale = np.where(better, error, best_error), np.where(better, scale, best_scale)
    codes = np.moveaxis(_codes(blocks, best_scale).reshape(moved.shape), -1, axis)
    scales = np.moveaxis(best_scale[..., 0], -1, axis)
    return np.ascontiguousarray(codes, np.int8), np.ascontiguousarray(scales, np.float32)


def _codes(blocks: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(blocks / scale), _LOW, _HIGH))


class _Edit(WeightEdit):
    def node(self, node: Node) -> None:
        """Let a product read weights in blocks."""
        found = product(self.graph, node) if is_allowed(node, self.settings) else "excluded"
        if isinstance(found, str):
            self.floats[node.name] = found
            return
        axis = 1 if isinstance(node.op, Conv) else 1 - found.axis
        extent, size = found.weights.shape[axis], found.weights.size
        block = min(self.settings.block, extent)
        if size < LEAST_ELEMENTS:
            self.floats[node.name] = "its weights are few"
        elif extent % block:
            self.floats[node.name] = f"blocks of {block} do not divide its {extent} inputs"
        elif np.abs(found.weights).max() / _HIGH > np.finfo(np.float16).max:
            why = f"a weight is {np.abs(found.weights).max():.3g}, too large for a scale in fp16; it stays f32"
            self.notices.append(Notice("scale-overflow", node.name, why))
            self.floats[node.name] = why
        else:
            self._rounded(node, found.weights, axis, block)

    def _rounded(self, node: Node, weights: np.ndarray, axis: int, block: int) -> None:
        if not weights.any():
            self.notices.append(Notice("zero-weights", node.name, "all its weights are 0"))
        base = f"{node.name}:weights"
        codes, scale, result = (self.names(f"{base}{part}") for part in ("", ":scale", ":dequantized"))
        self.constants[codes], self.constants[scale] = block_codes(weights, axis, block)
        op = DequantizeLinearByBlock(axis, block)
        self.insert.append(Node(self.names(f"{base}:dequantize"), op, (codes, scale), (result,), node.origin))
        self.insert.append(replace(node, inputs=(node.inputs[0], result, *node.inputs[2:])))
        self.removed.add(node.name)
        self.products.append(node.name)
