"""Random quantised graphs: the passes change no layer's integers but for ties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgesmith.ir import DType, Graph
from edgesmith.ops import OPS
from edgesmith.ops.add import Add
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.clip import Clip
from edgesmith.ops.concat import Concat
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.mul import Mul
from edgesmith.ops.pad import Pad
from edgesmith.ops.rectifiers import LeakyRelu
from edgesmith.ops.relu import Relu
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.resize import NearestResize
from edgesmith.ops.sampling import Sampling
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.ops.transpose import Transpose
from edgesmith.ops.window import Window

from .quantized import QuantizedSketch, integers

Step = Callable[["RandomNetwork", str], str]


class RandomNetwork(QuantizedSketch):
    """Images through random layers; each result is quantised for its range, now and then."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, DType.I8 if seed % 3 == 0 else DType.U8)
        self.made: list[str] = []

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, *choices):  # type: ignore[no-untyped-def]
        return choices[self.rng.integers(len(choices))]

    def shape(self, value: str) -> tuple[int, ...]:
        return self.types[value].shape

    def network(self, layers: int) -> Graph:
        x = self.quantised(self.input(1, 4, 8, 8))
        self.made.append(x)
        for _ in range(layers):
            x = self.pick(*self.made[-3:])
            y = self.pick(*STEPS)(self, x)
            if self.chance(0.3):
                y = self.add(self.pick(Relu(), Clip(0.0, 6.0), LeakyRelu(0.1), OPS["HardSwish"]()), y)
            self.made.append(self.quantised(y) if self.chance(0.8) else y)
        heads = dict.fromkeys((self.made[-1], self.pick(*self.made)))
        outputs = [self.head(v) for v in heads]
        return self.graph(*dict.fromkeys(outputs))

    def quantised(self, value: str) -> str:
        scale = float(self.pick(0.05, 0.05, 8 / 255))
        return self.qdq(value, scale, int(self.rng.integers(-20, 20)) + (128 if self.kind is DType.U8 else 0))

    def head(self, value: str) -> str:
        if self.chance(0.5):
            return self.q(value, 0.05, 0)
        channels = self.shape(value)[1]
        flat = self.add(Reshape((1, channels)), self.add(GlobalAveragePool(), value))
        x = self.quantised(flat)
        if self.chance(0.5):
            w = self.weights(channels, 5, axis=self.pick(1, None))
            return self.q(self.add(Add(), self.add(MatMul(), x, w), self.bias(x, w, 5)), 0.1, 3)
        w = self.weights(6, channels, axis=self.pick(0, None), scale=0.005)
        return self.q(self.add(Gemm(transB=1), x, w, self.bias(x, w, 6)), 0.1, 3)


def convolution(s: RandomNetwork, x: str) -> str:
    channels = s.shape(x)[1]
    kernel, stride = s.pick(1, 3), s.pick(1, 1, 2)
    group = s.pick(1, 1, channels)
    filters = channels if group > 1 else s.pick(3, 4, 6)
    window = Window(*((n, n) for n in (kernel, stride, kernel // 2, kernel // 2, 1)))
    dtype = s.pick(DType.I8, DType.I8, DType.U8)
    axis, zero = s.pick(0, None), 131 if dtype is DType.U8 else 0
    w = s.weights(filters, channels // group, kernel, kernel, axis=axis, scale=0.03 / kernel, dtype=dtype, zero=zero)
    dequantised = s.maker(x).op.name == "DequantizeLinear"
    return s.add(Conv(window, group), x, w, *([s.bias(x, w, filters)] if dequantised and s.chance(0.5) else []))


def join(s: RandomNetwork, x: str) -> str:
    same = [v for v in s.made if s.shape(v) == s.shape(x)]
    return s.add(s.pick(Add(), Mul(), Concat(1)), x, s.pick(*same))


def pool(s: RandomNetwork, x: str) -> str:
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    return s.add(s.pick(MaxPool(window), AveragePool(window), AveragePool(window, 1)), x)


def movement(s: RandomNetwork, x: str) -> str:
    shape = s.shape(x)
    if s.chance(0.3) and shape[1] > 1:
        a, b = s.all(Split(1, (1, shape[1] - 1)), x)
        return s.add(Concat(1), b, a)
    whole = tuple(n if i < 2 else max(1, n - 1) for i, n in enumerate(shape))
    ops = [
        Transpose((0, 1, 3, 2)),
        Pad((0, 0, 1, 1), (0, 0, 0, 1)),
        Slice((0,) * 4, whole, (1,) * 4),
        Reshape((1, shape[1], shape[3], shape[2])),
    ]
    if shape[2] <= 8:
        ops.append(NearestResize(Sampling(sizes=(*shape[:2], shape[2] + 3, shape[3]))))
    return s.add(s.pick(*ops), x)


def function(s: RandomNetwork, x: str) -> str:
    return s.add(OPS[s.pick("Sigmoid", "Tanh", "Abs")](), x)


STEPS: tuple[Step, ...] = (convolution, convolution, convolution, join, pool, movement, function)


@pytest.mark.parametrize("seed", range(60))
def test_random_network(seed: int) -> None:
    layers = 3 + seed % 10
    graph = RandomNetwork(seed).network(layers)
    result, _ = integers(graph, seed, layers=layers + 3)
    products = [n for n in result.nodes if n.op.name in ("Conv", "Gemm", "MatMul")]
    assert all(np.issubdtype(result.constants[n.inputs[1]].dtype, np.floating) for n in products)
