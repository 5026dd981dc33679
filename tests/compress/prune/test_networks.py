"""Networks of torchvision and timm at small sizes: pruned at random, exact, of their own class."""

import pytest
import torch

from .exactness import check

pytestmark = pytest.mark.torch

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize(
    ("name", "size", "groups"),
    [
        ("resnet18", 32, 12),
        ("mobilenet_v3_small", 32, 27),
        ("shufflenet_v2_x0_5", 32, 20),
    ],
)
def test_convolutional_networks_of_torchvision(torchvision, name, size, groups):
    torch.manual_seed(0)
    x = torch.randn(1, 3, size, size)
    structure, _, pruned = check(getattr(torchvision, name)(weights=None, num_classes=5), x, tolerance=1e-4)
    assert len(structure.groups) == groups
    assert pruned(x).shape == (1, 5)


def test_small_members_of_larger_families(torchvision):
    from torchvision.models.densenet import DenseNet
    from torchvision.models.googlenet import GoogLeNet

    torch.manual_seed(0)
    check(DenseNet(8, (2, 2), 16, num_classes=5), X, tolerance=1e-4)
    check(GoogLeNet(5, aux_logits=False, init_weights=False), X, part=0.7, tolerance=1e-4)


def test_vision_transformer_of_torchvision(torchvision):
    torch.manual_seed(0)
    net = torchvision.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    torch.nn.init.normal_(net.heads.head.weight)
    inner = [f"encoder.layers.encoder_layer_{i}.{part}" for i in range(2) for part in ("self_attention", "mlp.0")]
    structure, _, pruned = check(net, X, groups=inner, tolerance=1e-4)
    assert (structure.groups[0].name, structure.groups[0].size) == ("conv_proj", 16)
    assert pruned.encoder.layers[0].self_attention.num_heads == 2
    _, _, pruned = check(net, X, tolerance=100.0)  # layer normalisation over fewer features is another function
    assert pruned.hidden_dim == 8


def test_convnext_blocks_of_torchvision(torchvision):
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    torch.manual_seed(0)
    net = ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)], num_classes=5, layer_scale=1.0)
    structure, _, _ = check(net, X, groups=[f"features.1.{i}.block.3" for i in range(2)], tolerance=1e-4)
    assert len(structure.groups) == 5
    check(net, X, tolerance=100.0)


@pytest.mark.parametrize(
    ("name", "image_size", "untouched"),
    [
        ("shufflenet-v1", 64, ["classifier"]),
        ("shufflenet-v2-0.5", 64, None),
        ("mlperf-tiny-person-detection", 32, ["classifier"]),
        ("yolo-v3-tiny", 64, ["heads.0.output", "heads.1.output"]),
    ],
)
def test_networks_of_the_zoo(name, image_size, untouched):
    from edgesmith.zoo import describe
    from edgesmith.zoo.torch import module

    torch.manual_seed(0)
    net = module(name, image_size=image_size)
    x = torch.randn(1, describe(name).channels, image_size, image_size)
    structure, _, _ = check(net, x, tolerance=1e-4, graph=True)
    if untouched is not None:
        assert [layer for layer, _ in structure.untouched] == untouched
    assert len(structure.groups) > len(structure.untouched)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("resnet18", {"channels": (8, 12, 16, 20), "stem_width": 8}, 1e-4),
        ("ghostnet_050", {}, 1e-4),
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2}, 100.0),
    ],
)
def test_networks_of_timm(torchvision, name, options, tolerance):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    _, _, pruned = check(timm.create_model(name, num_classes=5, **options), X, tolerance=tolerance)
    assert type(pruned).__module__.startswith("timm.")
