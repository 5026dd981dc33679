"""PyTorch on one thread, and torchvision without its compiled operators where those do not load."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'train')")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def torchvision():
    """torchvision; its wheel for CUDA lacks ``nms`` beside PyTorch's build for CPUs, and then declaring it suffices."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    yield models
    del library
