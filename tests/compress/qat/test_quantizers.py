"""Each quantiser by itself: its integers, its gradients, what its paper says."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType
from edgesmith.quantize import QParams
from edgesmith.quantize.block_weights import block_codes
from edgesmith.quantize.scales import value_parameters

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from edgesmith.compress.qat.quantizers import ACTIVATIONS, WEIGHTS  # noqa: E402
from edgesmith.compress.qat.quantizers.learned_scale import LEAST_FACTOR  # noqa: E402
from edgesmith.compress.qat.rounding import ScaleGradient, rounded  # noqa: E402

ONE, NOTHING = torch.ones(4), torch.zeros(4)


def weights(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))


def start(scale: float | np.ndarray, bits: int = 8) -> QParams:
    array = np.broadcast_to(np.asarray(scale, np.float32), 4).copy()
    largest = 2 ** (bits - 1) - 1
    return QParams(array, np.zeros(4, np.int8), DType.I8, 0, -largest, largest)


def test_rounding_is_that_of_quantize_linear() -> None:
    generator = np.random.default_rng(1)
    q = value_parameters((-1.3, 4.1), DType.U8)
    x = np.concatenate([generator.normal(0, 2, 10_000), (np.arange(-40, 300) + 0.5) * float(q.scale)])
    x = x.astype(np.float32)
    low, high = -int(q.zero), 255 - int(q.zero)
    mine = rounded(torch.from_numpy(x), torch.from_numpy(np.array(q.scale)), low, high)
    np.testing.assert_array_equal(mine.numpy(), q.dequantize(q.quantize(x)))


@pytest.mark.parametrize("gradient", ScaleGradient)
def test_gradients_of_a_scale(gradient: ScaleGradient) -> None:
    """Equation 3 of arXiv:1902.08153, and that of arXiv:1805.06085, for one number in each range."""
    x = torch.tensor([-9.0, 0.34, 0.8, 9.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    weight = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    (rounded(x, scale, -4, 7, gradient) * weight).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 10.0, 100.0, 0.0]))
    beyond, within = -4 * 1.0 + 7 * 1000.0, (1 - 0.68) * 10 + (2 - 1.6) * 100
    expected = {ScaleGradient.NONE: None, ScaleGradient.CLIPPED: beyond, ScaleGradient.STEPS: beyond + within}
    if expected[gradient] is None:
        assert scale.grad is None
    else:
        assert scale.grad is not None and scale.grad.item() == pytest.approx(expected[gradient])


@pytest.mark.parametrize("name", [n for n in WEIGHTS if n != "blocks"])
def test_weights_are_integers_times_a_scale(name: str) -> None:
    """What training sees is what is exported, and integers lie within their bounds."""
    w = weights().requires_grad_()
    quantizer = WEIGHTS[name](start(0.3, 4), w, 4).eval()
    ratio = torch.tensor([1.0, 2.0, 0.5, 3.0])
    codes, scale = quantizer.coded(w.detach(), ratio, NOTHING)
    found = quantizer(w, ratio, NOTHING)
    torch.testing.assert_close(found, codes * scale.reshape(-1, 1, 1, 1), rtol=1e-6, atol=0)
    assert torch.equal(codes, codes.round())
    assert codes.abs().max() <= 8
    found.sum().backward()
    assert w.grad is not None and w.grad.abs().sum() > 0


def test_lsq_moves_a_scale_to_where_it_is_best() -> None:
    w = weights()
    quantizer = WEIGHTS["lsq"](start(w.abs().amax((1, 2, 3)).numpy() / 3, 4), w, 4)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.01)
    errors = []
    for _ in range(100):
        error = (quantizer(w, ONE, NOTHING) - w).square().mean()
        errors.append(error.item())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert errors[-1] < 0.5 * errors[0]


def test_lsq_steps_as_if_the_scale_were_the_parameter() -> None:
    w = weights()
    quantizer = WEIGHTS["lsq"](start(0.05), w, 8)
    (quantizer(w, ONE, NOTHING) * w.sign()).sum().backward()
    torch.optim.SGD(quantizer.parameters(), lr=0.1).step()
    scale = torch.full((4, 1, 1, 1), 0.05, requires_grad=True)
    (rounded(w, scale, -127, 127, ScaleGradient.STEPS) * w.sign()).sum().backward()
    assert scale.grad is not None
    expected = 0.05 - 0.1 * scale.grad.flatten() / (27 * 127) ** 0.5
    torch.testing.assert_close(quantizer.coded(w, ONE, NOTHING).scale, expected, rtol=1e-5, atol=0)


def test_one_step_does_not_ruin_a_scale() -> None:
    """However large the gradient is, and a scale that has become the smallest one comes back."""
    w = weights()
    quantizer = WEIGHTS["lsq"](start(0.01), w, 8)
    rate = 0.1
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=rate)
    for direction in (1e6, -1e6):
        quantizer.zero_grad()
        (direction * quantizer(w, ONE, NOTHING)).abs().sum().backward()
        optimizer.step()
        assert (quantizer.factor - 1).abs().max() <= 2 * rate + 1e-6
    with torch.no_grad():
        quantizer.factor.fill_(LEAST_FACTOR)
    for sign, moves in ((-1, False), (1, True)):
        before = quantizer.factor.detach().clone()
        quantizer.zero_grad()
        scales = quantizer(torch.full_like(w, 9.0), ONE, NOTHING)
        (-sign * scales).sum().backward()
        optimizer.step()
        assert bool((quantizer.factor > before).all()) is moves
        assert torch.equal(quantizer.factor, before) is not moves


def test_a_scale_follows_what_normalisation_multiplies_by() -> None:
    w = weights()
    quantizer = WEIGHTS["lsq"](start(0.3, 4), w, 4)
    ratio = torch.tensor([1.0, 2.0, 0.5, 4.0])
    before, after = (quantizer.coded(w * r.reshape(-1, 1, 1, 1), r, NOTHING) for r in (ONE, ratio))
    assert torch.equal(before.codes, after.codes)
    torch.testing.assert_close(after.scale, before.scale * ratio)


def test_ternary_weights() -> None:
    w = weights()
    codes, scale = WEIGHTS["twn"](start(1.0), w, 2).coded(w, ONE, NOTHING)
    for channel, found, size in zip(w, codes, scale, strict=True):
        kept = channel.abs() > 0.7 * channel.abs().mean()
        assert torch.equal(found != 0, kept)
        assert size.item() == pytest.approx(channel.abs()[kept].mean().item())
    assert torch.equal(codes[codes != 0], w.sign()[codes != 0])


def test_binary_weights() -> None:
    w = weights()
    codes, scale = WEIGHTS["binary"](start(1.0), w, 1).coded(w, ONE, NOTHING)
    assert torch.equal(codes, w.sign())
    torch.testing.assert_close(scale, w.abs().mean((1, 2, 3)))


def test_incremental_weights_are_fixed_group_by_group() -> None:
    w = weights()
    quantizer = WEIGHTS["inq"](start(1.0, 5), w, 5).train()
    codes, scale = quantizer.coded(w, ONE, NOTHING)
    sizes = set(codes.abs().unique().tolist())
    assert sizes <= {0.0, *(2.0**i for i in range(7))}
    largest = w.abs().max()
    assert largest * 2 / 3 <= scale.max() * 64 <= largest * 4 / 3
    quantizer.advance(w, ONE, 0.5)
    value = quantizer(w, ONE, NOTHING)
    fixed = value != w
    assert 0.4 < fixed.float().mean() <= 0.5
    assert w[quantizer.is_fixed].abs().min() >= w[~quantizer.is_fixed].abs().max()
    moved = w + 0.3
    torch.testing.assert_close(quantizer(moved, ONE, NOTHING)[quantizer.is_fixed], value[quantizer.is_fixed])
    quantizer.advance(moved, ONE, 1.0)
    codes, scale = quantizer.coded(moved, ONE, NOTHING)
    torch.testing.assert_close(quantizer(moved, ONE, NOTHING), codes * scale.reshape(-1, 1, 1, 1))


def test_power_of_two_is_the_nearest() -> None:
    """Equation 4 of arXiv:1702.03044: thresholds half way between neighbouring powers."""
    w = torch.linspace(-1, 1, 4 * 501).reshape(4, 501)
    quantizer = WEIGHTS["inq"](start(1.0, 4), w, 4)
    codes, scale = quantizer.coded(w, ONE, NOTHING)
    powers = torch.tensor([0.0, 1, 2, 4, 8])
    size = (w / scale.reshape(-1, 1)).abs()
    nearest = powers[(size[..., None] - powers).abs().argmin(-1)]
    ties = ((size[..., None] - (powers[1:] + powers[:-1]) / 2).abs() < 1e-4).any(-1)
    assert torch.equal(codes.abs()[~ties], nearest[~ties])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_start_as_calibrated(name: str) -> None:
    q = value_parameters((-0.7, 2.9), DType.U8)
    quantizer = ACTIVATIONS[name](q).eval()
    x = torch.randn(1000, generator=torch.Generator().manual_seed(3)) * 2
    np.testing.assert_array_equal(quantizer(x).detach().numpy(), q.dequantize(q.quantize(x.numpy())))
    assert quantizer.parameters_now().key == q.key


def test_extremes_are_averaged_until_frozen() -> None:
    quantizer = ACTIVATIONS["ema"](value_parameters((0.0, 1.0), DType.U8)).train()
    x = torch.tensor([-1.0, 3.0])
    for _ in range(700):
        quantizer(x)
    low, high = (float(b) for b in quantizer.parameters_now().range())
    assert low == pytest.approx(-1, abs=0.02) and high == pytest.approx(3, abs=0.02)
    quantizer.freeze()
    before = quantizer.parameters_now().key
    quantizer(10 * x)
    assert quantizer.parameters_now().key == before


def test_pact_learns_what_to_clip_at() -> None:
    quantizer = ACTIVATIONS["pact"](value_parameters((0.0, 8.0), DType.U8))
    x = torch.rand(1000, generator=torch.Generator().manual_seed(4)).mul(2)
    x[0] = 8.5
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.2)
    for _ in range(200):
        loss = (quantizer(x) - x).square().mean() + 0.01 * quantizer.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert 2.0 < quantizer.alpha.item() < 7.0


def test_blocks_have_scales_of_fp16() -> None:
    w = torch.randn(6, 32, generator=torch.Generator().manual_seed(6))
    codes, scale = block_codes(w.numpy(), 1, 16)
    begin = QParams(scale, np.zeros(scale.shape, np.int8), DType.I8, None, -8, 7)
    quantizer = WEIGHTS["blocks"](begin, w, 4)
    one, nothing = torch.ones(6), torch.zeros(())
    found = quantizer.coded(w, one, nothing)
    np.testing.assert_array_equal(found.codes.detach().numpy(), codes)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.01)
    for _ in range(5):
        (quantizer(w, one, nothing) - 1).square().sum().backward()
        optimizer.step()
    changed = quantizer.coded(w, one, nothing)
    assert not torch.equal(changed.scale, found.scale)
    assert torch.equal(changed.scale, changed.scale.half().float())
    each = changed.scale.repeat_interleave(16, 1)
    torch.testing.assert_close(quantizer(w, one, nothing), changed.codes * each, rtol=0, atol=0)


def test_incremental_weights_are_fixed_in_any_memory_format() -> None:
    values = weights()
    plain, last = (WEIGHTS["inq"](start(1.0, 5), values, 5) for _ in range(2))
    last.to(memory_format=torch.channels_last)
    for share in (0.5, 0.75):
        plain.advance(values, ONE, share)
        last.advance(values.contiguous(memory_format=torch.channels_last), ONE, share)
        assert int(plain.is_fixed.sum()) == round(share * values.numel())
        assert torch.equal(plain.is_fixed, last.is_fixed) and torch.equal(plain.fixed, last.fixed)
