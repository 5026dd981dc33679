"""Zoo networks as PyTorch modules: what tools do with modules works, and options have their effect."""

from __future__ import annotations

import copy
import inspect
import io
import subprocess
import sys

import pytest

from edgesmith import zoo
from edgesmith.errors import BadInput, EdgesmithError
from edgesmith.zoo.builder import Builder

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'train')")

from torch import fx, nn  # noqa: E402

from edgesmith.compress.counting import macs, parameters  # noqa: E402
from edgesmith.zoo.torch import encoder, module  # noqa: E402
from edgesmith.zoo.torch_builder import TorchBuilder  # noqa: E402

pytestmark = pytest.mark.torch
META = torch.device("meta")

SMALL = {"mobilenet-v2": {"width": 0.1, "depth": 0.5}, "shufflenet-v2-1.0": {"width": 0.1, "depth": 0.3}}
OTHER_INTERFACE = {"input", "model", "scope"}


def counted(name: str, **options: object) -> fx.GraphModule:
    """A network without memory."""
    with META:
        return module(name, **options)


def small(name: str = "mobilenet-v2", **options: object) -> fx.GraphModule:
    return module(name, **({**SMALL[name], "classes": 4, "image_size": 32, "seed": 1} | options))


def pictures(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_backend_offers_every_layer_under_the_same_signature():
    offered = dict(inspect.getmembers(Builder, inspect.isfunction))
    layers = {name for name in offered if not name.startswith("_")} - OTHER_INTERFACE
    assert len(layers) > 25
    for name in layers:
        theirs, mine = (inspect.signature(getattr(kind, name)).parameters for kind in (Builder, TorchBuilder))
        assert [(p.name, p.default, p.kind) for p in mine.values()] == [
            (p.name, p.default, p.kind) for p in theirs.values()
        ], name


def test_state_dict_has_the_names_of_the_onnx_model():
    for name in ("mobilenet-v3-small", "shufflenet-v2-0.5", "mlperf-tiny-keyword-spotting"):
        mine = {k for k in counted(name).state_dict() if not k.endswith("num_batches_tracked")}
        shared = ("relu6.", "shape.", "split.")
        assert mine == {i.name for i in zoo.build(name).graph.initializer if not i.name.startswith(shared)}


def test_code_is_readable_and_layers_are_ordinary_modules():
    network = counted("mobilenet-v2")
    assert "features_3_expand_conv = self.features_3_expand_conv" not in network.code
    assert 'getattr(self.features, "3").expand.conv(' in network.code
    block = network.get_submodule("features.3")
    assert [type(m) for m in block.modules() if not list(m.children())] == [
        nn.Conv2d, nn.BatchNorm2d, nn.ReLU6, nn.Conv2d, nn.BatchNorm2d, nn.ReLU6, nn.Conv2d, nn.BatchNorm2d,
    ]  # fmt: skip
    assert type(network).__name__ == "MobilenetV2"
    called = [node.target for node in network.graph.nodes if node.op == "call_module"]
    assert [path for path, m in network.named_modules() if not list(m.children())] == called
    assert network.training


@pytest.mark.parametrize("name", SMALL)
def test_copies_pickles_traces_and_layouts_compute_the_same(name):
    network = small(name).eval()
    given = pictures(2, 3, 32, 32)
    expected = network(given)
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert list(loaded.state_dict()) == list(network.state_dict())
    for same in (copy.deepcopy(network), loaded, fx.symbolic_trace(network)):
        torch.testing.assert_close(same(given), expected, rtol=0, atol=0)
    strided = copy.deepcopy(network).to(memory_format=torch.channels_last)
    torch.testing.assert_close(strided(given.to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("name", SMALL)
def test_batches_and_sizes_are_free(name):
    network = small(name).eval()
    given = pictures(3, 3, 32, 32)
    each = torch.cat([network(picture[None]) for picture in given])
    torch.testing.assert_close(network(given), each)
    assert network(pictures(2, 3, 48, 64)).shape == (2, 4)


@pytest.mark.parametrize("name", SMALL)
def test_training_learns(name):
    network = small(name, reduction=4, image_size=16)
    given, labels = pictures(16, 3, 16, 16), torch.arange(16) % 4
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(network(given), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_seed_decides_the_weights_and_the_default_generator_does_not():
    first, again, other = small(seed=1), small(seed=1), small(seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_activations_keep_their_scale_after_initialisation():
    network = module("mobilenet-v1", width=0.25, classes=10, image_size=64)
    assert 0.1 < network(pictures(8, 3, 64, 64)).std() < 10.0


def stages(name: str, depth: float) -> list[int]:
    """Strides of the depthwise convolutions."""
    layers = counted(name, depth=depth).modules()
    return [m.stride[0] for m in layers if isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1]


def test_depth_lengthens_stages_and_keeps_their_strides():
    assert stages("mobilenet-v1", 1.0) == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    assert stages("mobilenet-v1", 1.5) == [1, 1, 2, 1, 1, 2, 1, 1, 2, *(1,) * 8, 2, 1, 1]
    assert stages("mobilenet-v1", 0.5) == [1, 2, 2, 2, 1, 1, 2]
    assert stages("mobilenet-v3-small", 2.0) == [2, 1, 2, 1, 1, 1, 2, *(1,) * 9, 2, *(1,) * 5]
    assert stages("mobilenet-v2", 1.1)[:6] == [1, 1, 2, 1, 1, 2]


@pytest.mark.parametrize("name", ["squeezenet-1.0", "squeezenet-1.1"])
def test_depth_of_squeezenet_keeps_its_poolings(name):
    for depth, fires in ((0.5, 4), (1.0, 8), (1.5, 12)):
        layers = counted(name, depth=depth).modules()
        kinds = [type(m) for m in layers if isinstance(m, nn.MaxPool2d | nn.Conv2d)]
        assert (kinds.count(nn.MaxPool2d), kinds.count(nn.Conv2d)) == (3, 2 + 3 * fires)


@pytest.mark.parametrize("name", [n for n in zoo.names() if zoo.describe(n).multipliers])
def test_any_multiplier_that_a_network_has_gives_a_network(name):
    published = parameters(counted(name, classes=10))
    assert parameters(counted(name, classes=10, width=0.3)) < 0.8 * published
    if "depth" in zoo.describe(name).multipliers:
        assert parameters(counted(name, classes=10, depth=1.7)) > 1.1 * published


@pytest.mark.parametrize(
    "name",
    ["mobilenet-v1", "mobilenet-v2", "mobilenet-v3-small", "shufflenet-v1", "shufflenet-v2-1.0", "squeezenet-1.1",
     "ghostnet", "mnasnet-a1", "efficientnet-b0", "resnet-18"],
)  # fmt: skip
@pytest.mark.parametrize("reduction", [8])
def test_reduction_gives_small_pictures_a_coarsest_picture_of_several_pixels(name, reduction):
    network = counted(name, image_size=32, channels=1, classes=10, reduction=reduction)
    seen = {}
    for path, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(lambda _, given, __, path=path: seen.update({path: given[0].shape}))
    assert network.eval()(torch.empty(2, 1, 32, 32, device="meta")).shape == (2, 10)
    coarsest = min(
        shape[-1] for path, shape in seen.items() if len(shape) == 4 and shape[-1] > 1 and ".se." not in path
    )
    assert coarsest in (32 // reduction, 32 // reduction - 1)  # SqueezeNet does not pad its first layer
    smaller = parameters(network) - parameters(counted(name, channels=1, classes=10))
    assert abs(smaller) <= 16 * 16 * 3  # at most a shortcut that a stride needed


def test_reduction_as_published_changes_nothing():
    assert counted("resnet-18", reduction=32).code == counted("resnet-18").code


def test_a_softmax_at_the_end_is_left_out_for_training():
    assert not any(isinstance(m, nn.Softmax) for m in counted("lenet-5").modules())
    assert isinstance(module("lenet-5", softmax=True).softmax, nn.Softmax)
    assert isinstance(module("lenet-5", init="zoo").softmax, nn.Softmax)


@pytest.mark.parametrize(
    ("name", "features"),
    [("mobilenet-v2", 1280), ("squeezenet-1.1", 512), ("mobilefacenet", 512), ("lenet-5", 84), ("resnet-18", 512)],
)
def test_an_encoder_gives_features_of_the_whole_picture(name, features):
    with META:
        network, count = encoder(name)
    shape = (2, zoo.describe(name).channels, *zoo.describe(name).size())
    assert count == features
    assert network.eval()(torch.empty(shape, device="meta")).shape == (2, features)


def test_macs_fall_with_the_square_of_the_image_size():
    with META:
        counts = [macs(small(image_size=s), torch.empty(1, 3, s, s)) for s in (64, 32)]
    head = 4 * small().classifier.in_features
    assert counts[0] - head == 4 * (counts[1] - head)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("lenet-5", {"width": 2.0}, "no width multiplier"),
        ("unet", {"depth": 2.0}, "no depth multiplier"),
        ("mobilenet-v2", {"width": 0.0}, "width is 0.0"),
        ("mobilenet-v2", {"depth": -1.0}, "depth is -1.0"),
        ("mobilenet-v2", {"classes": 0}, "classes is 0"),
        ("mobilenet-v2", {"channels": 0}, "channels is 0"),
        ("mobilenet-v2", {"image_size": 0}, "image_size is 0"),
        ("mobilenet-v2", {"reduction": 6}, "does not divide its 32"),
        ("mobilenet-v2", {"init": "zoo", "depth": 2.0}, "published depth"),
        ("mobilenet-v2", {"init": "zoo", "width": 0.6}, "not published"),
        ("unet", {"reduction": 4}, "enlarges"),
        ("alexnet", {"image_size": 40}, "max_pool"),
        ("unet", {"image_size": 100, "width": 0.25}, "cat"),
    ],
)
def test_unsuitable_argument(name, options, why):
    with pytest.raises(BadInput, match=why) as caught:
        module(name, **options)
    assert name in caught.value.where
    assert caught.value.hint


def test_a_detector_is_no_encoder():
    with pytest.raises(BadInput, match="no features"):
        encoder("yolo-tiny", image_size=64)
    with pytest.raises(EdgesmithError, match="no such network"):
        encoder("mobilenet-v22")


def test_descriptions_do_not_need_pytorch():
    script = "import sys; sys.modules['torch'] = None; from edgesmith import zoo; print(len(zoo.names()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(zoo.names())
    script += "; import edgesmith.zoo.torch"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "MissingDependency" in done.stderr
    assert "pip install edgesmith[train]" in done.stderr
