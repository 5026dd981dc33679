"""Every network of the zoo in canonical form."""

from __future__ import annotations

from collections import Counter

import pytest

from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.zoo import build, describe, names

from .graphs import kinds, optimized

SMALLEST = {"inception-v3": 107, "alexnet": 67}


QUICK = (
    "face-cnn",
    "googlenet-bn",
    "lenet-5",
    "mobilenet-v3-small",
    "shufflenet-v2-0.5",
    "squeezenet-1.1",
    "yolo-tiny",
)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names()])
def test_network(name: str) -> None:
    size = min(SMALLEST.get(name, 64), describe(name).image_size)
    graph = bind(normalize(build(name, image_size=size)))
    result, report = optimized(graph)
    before, after = Counter(kinds(graph)), Counter(kinds(result))
    assert not after["BatchNormalization"]
    assert before["BatchNormalization"] == report.applied["fold-batch-norm"]
    # Nothing was turned into a Mul and an Add by channel: every normalisation went into a convolution.
    assert after["Mul"] + after["Add"] <= before["Mul"] + before["Add"]
    assert report.sweeps <= 6
