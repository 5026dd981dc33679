"""ncnn in int8: all else is as in ``edgesmith.bench.peers.ncnn``.

Its own tools (ncnn2table, ncnn2int8) are in no package, so the model is written here in its format, as they do: weights
by output channel, inputs of layers as a whole, symmetric, by the largest value; layers that feed such layers alone give
them integers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FLOAT = Path(__file__).parents[2] / "src/edgesmith/bench/peers/ncnn.py"
HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")
OPTIONS = {"use_int8_inference": True, **dict.fromkeys(HALVES, True)}
"""The layers that stay in floats are in halves where the processor has them, as ncnn does by default."""
SAMPLES = 4
FLOATS = 0.0
"""Before weights that are floats."""
PARAMETERS = {"Convolution": (0, 5, 6), "ConvolutionDepthWise": (0, 5, 6), "InnerProduct": (0, 1, 2)}
"""For each type that is quantised: numbers of the parameters for outputs, bias, and how many weights."""
SCALES, GROUPS = 8, 7
BY_CHANNEL, BY_GROUP, GIVES_INTEGERS = 2, 1, 100


def _float() -> Any:
    spec = importlib.util.spec_from_file_location("ncnn_float", FLOAT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Layer:
    """A line of the .param file, with what the .bin file has for it."""

    def __init__(self, line: str) -> None:
        self.kind, self.name, inputs, outputs, *rest = line.split()
        count, total = int(inputs), int(inputs) + int(outputs)
        self.inputs, self.outputs = rest[:count], rest[count:total]
        self.parameters = {int(k): v for k, v in (word.split("=", 1) for word in rest[total:])}
        self.weights = self.bias = np.zeros(0, np.float32)

    @property
    def is_quantised(self) -> bool:
        return self.kind in PARAMETERS

    def number(self, index: int) -> int:
        return int(self.parameters.get(index, "0"))

    def line(self) -> str:
        words = [self.kind, self.name, len(self.inputs), len(self.outputs), *self.inputs, *self.outputs]
        return " ".join(map(str, [*words, *(f"{k}={v}" for k, v in self.parameters.items())]))


def convert(model: Path, folder: Path) -> None:
    _float().convert(model, folder)
    param, binary = folder / "model.param", folder / "model.bin"
    magic, counts, *lines = param.read_text().splitlines()
    layers = [Layer(line) for line in lines]
    _read_weights(layers, binary.read_bytes())
    scales = _input_scales(model, folder, layers)
    content = b"".join(_with_scales(layer, layers, scales) for layer in layers)
    binary.write_bytes(content)
    param.write_text("\n".join([magic, counts, *(layer.line() for layer in layers), ""]))


def _read_weights(layers: list[Layer], content: bytes) -> None:
    words = np.frombuffer(content, np.float32)
    at = 0
    for layer in layers:
        if layer.is_quantised:
            outputs, bias, count = (layer.number(i) for i in PARAMETERS[layer.kind])
            if words[at] != FLOATS:
                raise RuntimeError(f"the weights of {layer.name} are no floats")
            at += 1
            layer.weights, layer.bias = words[at : at + count], words[at + count : at + count + outputs * bias]
            at += count + outputs * bias
    if at != len(words):
        raise RuntimeError("layers of other types have weights, too")


def _input_scales(model: Path, folder: Path, layers: list[Layer]) -> dict[str, float]:
    """For each value that a quantised layer reads: what makes its largest element 127."""
    import ncnn
    import onnx

    (value,) = onnx.load(model).graph.input
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim][1:]

    net = ncnn.Net()
    net.load_param(str(folder / "model.param"))
    net.load_model(str(folder / "model.bin"))
    (source,) = net.input_names()
    largest = dict.fromkeys((layer.inputs[0] for layer in layers if layer.is_quantised), 0.0)
    rng = np.random.default_rng(0)
    for _ in range(SAMPLES):
        extractor = net.create_extractor()
        extractor.set_light_mode(False)
        sample = rng.uniform(-1.0, 1.0, shape).astype(np.float32)
        extractor.input(source, ncnn.Mat(sample))  # which holds no reference
        for name in largest:
            largest[name] = max(largest[name], float(np.abs(np.array(extractor.extract(name)[1])).max()))
    return {name: 127.0 / most for name, most in largest.items()}


def _with_scales(layer: Layer, layers: list[Layer], scales: dict[str, float]) -> bytes:
    """What the .bin file has for the layer, whose parameters are changed to say so. Loading rounds the weights."""
    if not layer.is_quantised:
        return b""
    is_depthwise = layer.kind == "ConvolutionDepthWise"
    rows = layer.weights.reshape(layer.number(GROUPS if is_depthwise else 0), -1)
    by_row = 127.0 / np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny)
    numbers = [FLOATS, *layer.weights, *layer.bias, *by_row, scales[layer.inputs[0]]]
    term = BY_GROUP if is_depthwise else BY_CHANNEL
    readers = list(_readers(layer.outputs[0], layers))
    if all(x.kind.startswith("Convolution") for x in (layer, *readers)) and readers:
        term += GIVES_INTEGERS
        numbers.append(scales[readers[0].inputs[0]])
    layer.parameters[SCALES] = str(term)
    return np.array(numbers, np.float32).tobytes()


def _readers(value: str, layers: list[Layer]) -> Iterator[Layer]:
    """The layers that read a value, through what only gives it more names."""
    for layer in layers:
        if value in layer.inputs:
            if layer.kind == "Split":
                for output in layer.outputs:
                    yield from _readers(output, layers)
            else:
                yield layer


def load(*arguments: Any) -> Any:
    module = _float()
    module.OPTIONS.update(OPTIONS)
    return module.load(*arguments)
