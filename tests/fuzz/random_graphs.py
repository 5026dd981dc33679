"""Random but valid ONNX models: every operator is drawn with parameters that fit the values made so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith.frontend.limits import MAX_IR_VERSION, TARGET_OPSET

__all__ = ["random_model"]

Shape = tuple[int, ...]
MAX_ELEMENTS = 6000
UNARY = ("Relu", "Sigmoid", "HardSwish", "Tanh", "LeakyRelu", "Abs", "Neg", "Clip", "Elu", "Identity")


class RandomModel:
    """A model that grows by one random operator at a time.

    Args:
        prefix: before every name, so that several models fit into one graph.
    """

    def __init__(self, seed: int, prefix: str = "") -> None:
        self.rng = np.random.default_rng(seed)
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.shapes: dict[str, Shape] = {}
        """Run-time f32 values."""
        self.constants: dict[str, Shape] = {}

    def pick(self, *choices: object) -> object:
        return choices[self.rng.integers(len(choices))]

    def number(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def value(self, keep: Callable[[Shape], bool] = lambda shape: True) -> str | None:
        """A value made before, rather a late one."""
        found = [v for v, s in self.shapes.items() if keep(s)]
        if not found:
            return None
        return found[max(self.number(0, len(found) - 1), self.number(0, len(found) - 1))]

    def input(self, shape: Shape) -> str:
        name = f"{self.prefix}in{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.shapes[name] = shape
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"{self.prefix}c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        self.constants[name] = np.shape(array)
        return name

    def weights(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, inputs: Sequence[str], *shapes: Shape, **attributes: object) -> list[str]:
        outputs = [f"{self.prefix}v{len(self.shapes) + i}_{op.lower()}" for i in range(len(shapes))]
        name = f"{self.prefix}n{len(self.nodes)}_{op.lower()}"
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name, **attributes))
        self.shapes.update(zip(outputs, shapes, strict=True))
        return outputs

    # Operators. Each returns without adding anything when no value suits it.

    def conv(self, x: str | None = None, channels: int = 0) -> str | None:
        x = x or self.value(lambda s: len(s) == 4)
        if x is None:
            return None
        n, c, h, w = self.shapes[x]
        kind = self.pick("plain", "plain", "pointwise", "pointwise", "grouped", "depthwise", "depthwise")
        group, out = 1, channels or self.number(1, 40)
        if kind == "depthwise":
            group = c
            out = c * int(self.pick(1, 1, 1, 2))
        elif kind == "grouped":
            group = int(self.pick(*[g for g in range(1, c + 1) if c % g == 0]))
            out = group * self.number(1, 6)
        if channels and out != channels:
            group, out = 1, channels
        kernel = (1, 1) if kind == "pointwise" else (self.number(1, 5), self.number(1, 5))
        strides = (1, 1) if self.chance(0.6) else (self.number(1, 3), self.number(1, 3))
        dilations = (1, 1) if self.chance(0.7) else (self.number(1, 3), self.number(1, 3))
        pads = [0] * 4 if self.chance(0.3) else [self.number(0, k) for k in (*kernel, *kernel)]
        if kind == "pointwise" and self.chance(0.7):
            strides, pads = (1, 1), [0] * 4
        extents = []
        for a, extent in enumerate((h, w)):
            room = extent + pads[a] + pads[a + 2] - ((kernel[a] - 1) * dilations[a] + 1)
            if room < 0:
                return None
            extents.append(room // strides[a] + 1)
        if n * out * extents[0] * extents[1] > MAX_ELEMENTS:
            return None
        operands = [x, self.weights(out, c // group, *kernel, scale=(c // group * kernel[0] * kernel[1]) ** -0.5)]
        if self.chance(0.6):
            operands.append(self.weights(out))
        return self.add(
            "Conv",
            operands,
            (n, out, *extents),
            kernel_shape=kernel,
            strides=strides,
            pads=pads,
            dilations=dilations,
            group=group,
        )[0]

    def pool(self) -> None:
        x = self.value(lambda s: len(s) == 4)
        if x is None:
            return
        n, c, h, w = self.shapes[x]
        op = str(self.pick("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"))
        if op.startswith("Global"):
            self.add(op, [x], (n, c, 1, 1))
            return
        kernel = (min(h, self.number(1, 4)), min(w, self.number(1, 4)))
        strides = (self.number(1, 3), self.number(1, 3))
        pads = [self.number(0, (k - 1) // 2 if k < 3 else 1) if k > 1 else 0 for k in (*kernel, *kernel)]
        extents = [(e + pads[a] + pads[a + 2] - kernel[a]) // strides[a] + 1 for a, e in enumerate((h, w))]
        attributes: dict[str, object] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        if op == "AveragePool":
            attributes["count_include_pad"] = self.number(0, 1)
        self.add(op, [x], (n, c, *extents), **attributes)

    def concat(self) -> None:
        first = self.value(lambda s: len(s) >= 1)
        if first is None:
            return
        shape = self.shapes[first]
        axis = 1 if len(shape) == 4 and self.chance(0.6) else self.number(0, len(shape) - 1)
        fits = [
            v
            for v, s in self.shapes.items()
            if len(s) == len(shape) and all(m == n for a, (m, n) in enumerate(zip(s, shape, strict=True)) if a != axis)
        ]
        chosen = [fits[self.number(0, len(fits) - 1)] for _ in range(self.number(1, 3))]
        chosen.insert(self.number(0, len(chosen)), first)
        if self.chance(0.1):
            chosen.insert(self.number(0, len(chosen)), self.weights(*shape))
        total = sum({**self.constants, **self.shapes}[v][axis] for v in chosen)
        joined = (*shape[:axis], total, *shape[axis + 1 :])
        if np.prod(joined) <= MAX_ELEMENTS:
            self.add("Concat", chosen, joined, axis=axis)

    def split(self) -> None:
        x = self.value(lambda s: max(s, default=0) > 1)
        if x is None:
            return
        shape = self.shapes[x]
        axis = int(self.pick(*[a for a, n in enumerate(shape) if n > 1]))
        count = self.number(2, min(3, shape[axis]))
        cuts = sorted(self.rng.choice(np.arange(1, shape[axis]), count - 1, replace=False).tolist())
        lengths = np.diff([0, *cuts, shape[axis]]).tolist()
        self.add(
            "Split", [x, self.ints(*lengths)], *[(*shape[:axis], n, *shape[axis + 1 :]) for n in lengths], axis=axis
        )

    def slice(self) -> None:
        x = self.value(lambda s: len(s) >= 1)
        if x is None:
            return
        shape = self.shapes[x]
        axis = self.number(0, len(shape) - 1)
        n = shape[axis]
        start, step = self.number(0, n - 1), int(self.pick(1, 1, 2, -1, -2))
        end = self.number(start + 1, n) if step > 0 else -n - 1
        length = len(range(*slice(start, end, step).indices(n)))
        operands = [x, self.ints(start), self.ints(end), self.ints(axis), self.ints(step)]
        self.add("Slice", operands, (*shape[:axis], length, *shape[axis + 1 :]))

    def shuffle(self) -> None:
        """Channel shuffle of ShuffleNet."""
        x = self.value(lambda s: len(s) == 4 and s[1] > 1)
        if x is None:
            return
        n, c, h, w = self.shapes[x]
        g = int(self.pick(*[g for g in range(1, c + 1) if c % g == 0]))
        (y,) = self.add("Reshape", [x, self.ints(n, g, c // g, h, w)], (n, g, c // g, h, w))
        (y,) = self.add("Transpose", [y], (n, c // g, g, h, w), perm=[0, 2, 1, 3, 4])
        self.add("Reshape", [y, self.ints(n, c, h, w)], (n, c, h, w))

    def transpose(self) -> None:
        x = self.value(lambda s: len(s) >= 2)
        if x is None:
            return
        shape = self.shapes[x]
        perm = self.rng.permutation(len(shape)).tolist()
        self.add("Transpose", [x], tuple(shape[a] for a in perm), perm=perm)

    def reshape(self) -> None:
        x = self.value()
        if x is None:
            return
        shape = self.shapes[x]
        size = int(np.prod(shape))
        kind = self.pick("flatten", "factor", "unsqueeze", "image")
        if kind == "flatten":
            axis = self.number(0, len(shape))
            shapes = (int(np.prod(shape[:axis])), int(np.prod(shape[axis:])))
            self.add("Flatten", [x], shapes, axis=axis)
            return
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        if kind == "unsqueeze":
            if len(shape) > 4:
                return
            axis = self.number(0, len(shape))
            self.add("Unsqueeze", [x, self.ints(axis)], (*shape[:axis], 1, *shape[axis:]))
            return
        first = int(self.pick(*divisors))
        rest = size // first
        second = int(self.pick(*[d for d in range(1, rest + 1) if rest % d == 0]))
        new = (first, second, rest // second) if kind == "factor" else (1, first, second, rest // second)
        self.add("Reshape", [x, self.ints(*new)], new)

    def unary(self, x: str | None = None) -> str | None:
        x = x or self.value()
        if x is None:
            return None
        op = str(
            self.pick("Relu", "Sigmoid", "HardSwish", "Tanh", "LeakyRelu", "Abs", "Neg", "Clip", "Elu", "Identity")
        )
        shape = self.shapes[x]
        if op == "Clip":
            zero, six = self.constant(np.float32(0)), self.constant(np.float32(6))  # type: ignore[arg-type]
            return self.add(op, [x, zero, six], shape)[0]
        return self.add(op, [x], shape)[0]

    def binary(self) -> None:
        x = self.value()
        if x is None:
            return
        shape = self.shapes[x]
        op = str(self.pick("Add", "Mul", "Sub", "Max", "Add", "Mul"))
        kind = self.pick("same", "same", "any", "channel", "scalar", "self", "partial")
        y: str | None
        if kind == "self":
            y = x
        elif kind == "scalar":
            y = self.weights()
        elif kind == "channel" and len(shape) >= 2:
            y = self.weights(shape[1], *(1,) * (len(shape) - 2))
        elif kind == "partial":
            y = self.weights(*[n if self.chance(0.5) else 1 for n in shape])
        elif kind == "any":
            y = self.value(lambda s: _broadcasts(s, shape))
        else:
            y = self.value(lambda s: s == shape)
        assert y is not None
        other = self.shapes.get(y) or tuple(
            next(t.dims for t in self.initializers if t.name == y) if y not in self.shapes else ()
        )
        pair = [x, y] if self.chance(0.5) else [y, x]
        result = np.broadcast_shapes(shape, other)
        if np.prod(result) <= MAX_ELEMENTS:
            self.add(op, pair, result)

    def residual(self) -> None:
        """Convolution, activation, and a value of the same shape added in some order."""
        x = self.value(lambda s: len(s) == 4)
        y = self.conv(x)
        if y is None:
            return
        if self.chance(0.5):
            y = self.unary(y)
        y = self.joined(y)
        if self.chance(0.5):
            self.unary(y)

    def joined(self, x: str) -> str:
        """A value together with another one that broadcasts to it."""
        shape = self.shapes[x]
        other = self.value(lambda s: _broadcasts(s, shape))
        assert other is not None
        return self.add(str(self.pick("Add", "Mul")), [x, other] if self.chance(0.5) else [other, x], shape)[0]

    def gate(self) -> None:
        """Squeeze and excitation."""
        x = self.value(lambda s: len(s) == 4)
        if x is None:
            return
        n, c, _, _ = self.shapes[x]
        (y,) = self.add("GlobalAveragePool", [x], (n, c, 1, 1))
        middle = self.number(1, 9)
        (y,) = self.add("Conv", [y, self.weights(middle, c, 1, 1), self.weights(middle)], (n, middle, 1, 1))
        (y,) = self.add("Relu", [y], (n, middle, 1, 1))
        (y,) = self.add("Conv", [y, self.weights(c, middle, 1, 1, scale=0.3)], (n, c, 1, 1))
        (y,) = self.add(str(self.pick("Sigmoid", "HardSigmoid")), [y], (n, c, 1, 1))
        self.add("Mul", [x, y] if self.chance(0.5) else [y, x], self.shapes[x])

    def branches(self) -> None:
        """Inception: pointwise convolutions of one value, perhaps joined."""
        x = self.value(lambda s: len(s) == 4)
        if x is None:
            return
        n, c, h, w = self.shapes[x]
        made = []
        for _ in range(self.number(2, 4)):
            out = self.number(1, 20)
            if n * out * h * w > MAX_ELEMENTS:
                return
            (y,) = self.add("Conv", [x, self.weights(out, c, 1, 1, scale=c**-0.5)], (n, out, h, w))
            if self.chance(0.5):
                y = self.unary(y) or y
            if self.chance(0.3):
                y = self.joined(y)
            made.append(y)
        if self.chance(0.6):
            total = sum(self.shapes[y][1] for y in made)
            self.add("Concat", made, (n, total, h, w), axis=1)

    def matrix(self) -> None:
        x = self.value(lambda s: len(s) >= 2)
        if x is None:
            return
        shape = self.shapes[x]
        out, k = self.number(1, 40), shape[-1]
        if np.prod(shape[:-1]) * out > MAX_ELEMENTS:
            return
        if len(shape) == 2 and self.chance(0.6):
            transposed = self.number(0, 1)
            b = self.weights(*((out, k) if transposed else (k, out)), scale=k**-0.5)
            bias = self.pick((out,), (1, out), (1,), (shape[0], 1), (shape[0], out), ())
            operands = [x, b] + ([self.weights(*bias)] if self.chance(0.7) else [])  # type: ignore[misc]
            alpha, beta = float(self.pick(1.0, 0.5)), float(self.pick(1.0, 2.0))
            self.add("Gemm", operands, (shape[0], out), transB=transposed, alpha=alpha, beta=beta)
        else:
            self.add("MatMul", [x, self.weights(k, out, scale=k**-0.5)], (*shape[:-1], out))

    def run_time_matrix(self) -> None:
        x = self.value(lambda s: len(s) >= 2)
        if x is None:
            return
        shape = self.shapes[x]
        (y,) = self.add("Transpose", [x], (*shape[:-2], shape[-1], shape[-2]), perm=_swapped(len(shape)))
        (y,) = self.add("MatMul", [x, y], (*shape[:-1], shape[-2]))
        self.add("Mul", [y, self.constant(np.float32(0.1))], self.shapes[y])  # type: ignore[arg-type]

    def normalise(self) -> None:
        x = self.value(lambda s: len(s) >= 1 and s[-1] > 1)
        if x is None:
            return
        shape = self.shapes[x]
        if len(shape) == 4 and self.chance(0.5):
            c = shape[1]
            positive = self.constant(self.rng.uniform(0.5, 2, c).astype(np.float32))
            operands = [x, self.weights(c), self.weights(c), self.weights(c), positive]
            self.add("BatchNormalization", operands, shape)
        else:
            self.add("Softmax", [x], shape, axis=self.number(0, len(shape) - 1))

    def reduce(self) -> None:
        x = self.value(lambda s: len(s) >= 1)
        if x is None:
            return
        shape = self.shapes[x]
        axes = sorted(self.rng.choice(len(shape), self.number(1, len(shape)), replace=False).tolist())
        keep = self.number(0, 1)
        kept = tuple(1 if a in axes else n for a, n in enumerate(shape) if keep or a not in axes)
        self.add(str(self.pick("ReduceMean", "ReduceMax", "ReduceSum")), [x, self.ints(*axes)], kept, keepdims=keep)

    def resize(self) -> None:
        x = self.value(lambda s: len(s) == 4)
        if x is None:
            return
        n, c, h, w = self.shapes[x]
        if n * c * h * w * 4 > MAX_ELEMENTS:
            return
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        mode = str(self.pick("nearest", "linear"))
        transform = str(self.pick("asymmetric", "half_pixel")) if mode == "linear" else "asymmetric"
        attributes = {"mode": mode, "coordinate_transformation_mode": transform, "nearest_mode": "floor"}
        self.add("Resize", [x, "", scales], (n, c, 2 * h, 2 * w), **attributes)

    def pad(self) -> None:
        x = self.value(lambda s: len(s) >= 1)
        if x is None:
            return
        shape = self.shapes[x]
        pads = [self.number(0, 2) if self.chance(0.4) else 0 for _ in range(2 * len(shape))]
        padded = tuple(n + pads[a] + pads[a + len(shape)] for a, n in enumerate(shape))
        if np.prod(padded) <= MAX_ELEMENTS:
            self.add("Pad", [x, self.ints(*pads)], padded)

    def grow(self) -> None:
        steps = (
            *(self.conv,) * 4,
            *(self.residual,) * 3,
            *(self.concat,) * 3,
            *(self.binary,) * 4,
            *(self.unary,) * 2,
            *(self.branches, self.gate, self.pool, self.pool, self.split, self.slice, self.shuffle),
            *(self.transpose, self.reshape, self.matrix, self.matrix, self.run_time_matrix),
            *(self.normalise, self.reduce, self.resize, self.pad),
        )
        steps[self.number(0, len(steps) - 1)]()

    def start(self) -> None:
        """One to three inputs, images for the most part."""
        batch = int(self.pick(1, 1, 1, 2, 3))
        for _ in range(int(self.pick(1, 1, 2, 3))):
            if self.chance(0.8):
                self.input((batch, self.number(1, 20), self.number(1, 12), self.number(1, 12)))
            else:
                self.input(tuple(self.number(1, 9) for _ in range(self.number(0, 4))))

    def outputs(self) -> list[str]:
        """Every value that nobody reads, and a few that somebody does."""
        read = {v for n in self.nodes for v in n.input}
        made = [v for n in self.nodes for v in n.output]
        return [v for v in made if v not in read or self.chance(0.1)]


def _broadcasts(shape: Shape, target: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def _swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def random_model(seeds: Sequence[int], operators: int = 12) -> onnx.ModelProto:
    """A valid model of one random part for each seed; the names of a part begin with its seed.

    Args:
        operators: how often each part grows.
    """
    parts = []
    for seed in seeds:
        part = RandomModel(seed, f"s{seed}_")
        part.start()
        for _ in range(operators):
            part.grow()
        parts.append(part)
    outputs = [
        helper.make_tensor_value_info(v, TensorProto.FLOAT, part.shapes[v]) for part in parts for v in part.outputs()
    ]
    graph = helper.make_graph(
        [n for p in parts for n in p.nodes],
        "random",
        [i for p in parts for i in p.inputs],
        outputs,
        [t for p in parts for t in p.initializers],
    )
    opset = helper.make_opsetid("", TARGET_OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=MAX_IR_VERSION)
