"""Values that make most of the noise are not rounded to 8 bits, as long as that leaves most of the work in 8 bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgesmith.errors import BadInput
from edgesmith.ir import DType, Graph
from edgesmith.ops.concat import Concat
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.relu import Relu
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.quantize import Settings, open_samples, quantize
from edgesmith.quantize.recovery import RECOVERIES, Draft
from edgesmith.quantize.recovery.reconstruction import products_in_order
from passes.graphs import Sketch

from .networks import conv, draft, evidence, feeds, sqnr_db

OUTLIER = 100.0


def spiky(*, parts: int = 1) -> Graph:
    """Conv to few channels, one of them an outlier that the next Conv ignores, and two large Convs after it.

    Rounding the narrow value (or the concatenation of several) makes nearly all of the noise.
    """
    sketch = Sketch()
    sketch.rng = np.random.default_rng(5)
    x = sketch.input(1, 3, 8, 8)
    made = []
    for _ in range(parts):
        w = sketch.rng.standard_normal((4, 3, 1, 1)).astype(np.float32)
        w[0] *= OUTLIER
        made.append(sketch.add(Relu(), sketch.add(conv(), x, sketch.constant(w))))
    narrow = made[0] if parts == 1 else sketch.add(Concat(1), *made)
    w = sketch.rng.standard_normal((24, 4 * parts, 1, 1)).astype(np.float32)
    w[:, ::4] = 0
    y = sketch.add(Relu(), sketch.add(conv(), narrow, sketch.constant(w)))
    y = sketch.add(Relu(), sketch.add(conv(3), y, sketch.random(24, 24, 3, 3)))
    y = sketch.add(conv(3), y, sketch.random(24, 24, 3, 3))
    return sketch.graph(sketch.add(GlobalAveragePool(), y))


def widened(made: Draft) -> Draft:
    return RECOVERIES["wide-values"]().improve(made, evidence(made.exact))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("wide", [DType.F32, DType.I16])
def test_the_noisiest_value_stays_wide(parts: int, wide: DType) -> None:
    made = draft(spiky(parts=parts), wide=wide)
    better = widened(made)
    (found,) = {w for w in better.parameters.wide.values() if w.noise > 0.5}
    assert found.value in made.parameters.values and found.work < 0.2
    assert sqnr_db(better) > sqnr_db(made) + 3
    whole = [v for v, w in better.parameters.wide.items() if w is found]
    assert len(whole) == (1 if parts == 1 else 1 + parts)  # what a Concat reads goes with what it makes
    kinds = {better.parameters.values[v].dtype for v in whole if v in better.parameters.values}
    assert kinds == (set() if wide.is_float else {DType.I16})
    before, left = products_in_order(made), products_in_order(better)
    assert before[-2:] == left[-2:] if wide.is_float else before == left
    assert sum(w.work for w in set(better.parameters.wide.values())) <= made.settings.wide_work


def test_less_work_keeps_less_wide() -> None:
    made = draft(spiky())
    (noisiest,) = {w for w in widened(made).parameters.wide.values() if w.noise > 0.5}
    for most in (noisiest.work * 0.99, 0.0):
        fewer = widened(draft(spiky(), wide_work=most))
        assert noisiest.value not in fewer.parameters.wide
        assert sum(w.work for w in set(fewer.parameters.wide.values())) <= most
    assert widened(draft(spiky(), wide_work=0.0)).parameters.wide == {}


def test_values_of_16_bits_are_left_alone() -> None:
    made = draft(spiky(), precision="int16x8")
    assert widened(made) is made


def test_evenly_noisy_values_are_not_worth_it() -> None:
    sketch = Sketch()
    x = sketch.input(1, 8, 8, 8)
    for _ in range(4):
        x = sketch.add(Relu(), sketch.add(conv(3), x, sketch.random(8, 8, 3, 3)))
    assert widened(draft(sketch.graph(x))).parameters.wide == {}


@pytest.mark.parametrize("wide", [DType.F32, DType.I16])
def test_the_result_is_the_model_that_onnx_runtime_runs(wide: DType) -> None:
    graph = spiky(parts=2)
    samples = open_samples(lambda: feeds(graph), {v: graph.type(v) for v in graph.inputs})
    found = quantize(graph, samples, Settings(wide=wide))
    assert found.wide and found.report()["wide_values"][0]["dtype"] == str(wide)
    assert (found.model.opset_import[0].version >= 21) == (wide is DType.I16)
    assert any("kept in floats" in why for why in found.floats.values()) == wide.is_float
    oracle, (output,) = Oracle(found.model, optimized=False), graph.outputs
    compiled = optimize(found.graph)[0]
    for inputs in feeds(graph, 3):
        want = oracle.run(inputs)[output]
        got = compiled.reference(inputs)[output]
        np.testing.assert_allclose(got, want, atol=0.02 * np.abs(want).max())
    if wide is DType.I16:
        kinds = {compiled.type(n.inputs[0]).dtype for n in compiled.nodes if n.op.name == "ConvInteger"}
        assert kinds == {DType.U8, DType.I16}


def test_what_is_wide_for_one_draft_is_so_for_another() -> None:
    made = draft(spiky())
    better = widened(made)
    again = made.with_wide(better.parameters)
    assert again.quantized().digest == better.quantized().digest
    fewer = replace(made, parameters=replace(made.parameters, wide={}))
    assert fewer.with_wide(made.parameters).quantized().digest == made.quantized().digest


def test_settings_are_checked() -> None:
    for wrong in ({"wide": DType.U8}, {"wide_work": -0.1}, {"wide_work": 1.5}):
        with pytest.raises(BadInput, match="wide"):
            Settings(**wrong)  # type: ignore[arg-type]
