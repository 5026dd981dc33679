"""Trains a small CNN on scikit-learn's handwritten digits and writes it as ONNX.

Usage::

    pip install 'edgesmith[train,demo]'
    python examples/digits/train.py

One seed, one thread and a fixed number of epochs: the held-out images take no part in training or in choosing anything.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
MODEL, HELD_OUT = HERE / "digits.onnx", HERE / "held_out.json"
HELD_OUT_IMAGES = 360
SEED = 20


class SeparableBlock(nn.Module):
    """Depthwise 3x3 and pointwise convolution, with a residual path where the shapes allow one."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = inputs == outputs and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return functional.relu(x + y if self.residual else y)


def network() -> nn.Module:
    """The classifier: images [n, 1, 8, 8] in [0, 1] to logits [n, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        SeparableBlock(32, 64),
        SeparableBlock(64, 64),
        SeparableBlock(64, 96, stride=2),
        SeparableBlock(96, 96),
        SeparableBlock(96, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def held_out_indices(labels: np.ndarray) -> np.ndarray:
    """Indices of the images that training never sees; a stratified draw, made once and kept beside the model."""
    if not HELD_OUT.exists():
        _, chosen = train_test_split(
            np.arange(len(labels)), test_size=HELD_OUT_IMAGES, stratify=labels, random_state=SEED
        )
        HELD_OUT.write_text(json.dumps(sorted(int(i) for i in chosen)) + "\n", encoding="utf-8")
    return np.array(json.loads(HELD_OUT.read_text(encoding="utf-8")))


def augment(images: Tensor) -> Tensor:
    """Random rotation (12 degrees), shear, scale (12 %) and shift (one pixel), then a little noise; shape unchanged."""
    count = len(images)

    def uniform(bound: float) -> Tensor:
        return (torch.rand(count) * 2 - 1) * bound

    angle, shear = uniform(math.radians(12)), uniform(0.15)
    scale_x, scale_y = 1 + uniform(0.12), 1 + uniform(0.12)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [scale_x * cos, scale_x * (shear - sin), uniform(0.25), scale_y * sin, scale_y * cos, uniform(0.25)]
    grid = functional.affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(images.shape), align_corners=False)
    warped = functional.grid_sample(images, grid, align_corners=False)
    return (warped + 0.03 * torch.randn_like(warped)).clamp(0, 1)


def train(images: Tensor, labels: Tensor, epochs: int, batch: int = 64, peak_rate: float = 4e-3) -> nn.Module:
    """The average of the weights along the last part of a one-cycle run of AdamW, in evaluation mode."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=2e-2)
    steps = math.ceil(len(images) / batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, epochs=epochs, steps_per_epoch=steps)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images)).split(batch):
            loss = functional.cross_entropy(model(augment(images[chosen])), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item() * len(chosen)
        if (epoch + 1) % 20 == 0:
            print(f"epoch {epoch + 1:3d}/{epochs}: training loss {total / len(images):.4f}", flush=True)
    return average.module.eval()


def export(model: nn.Module, path: Path) -> None:
    """Writes the model with a batch of one and without the exporter's notes on source files."""
    program = torch.onnx.export(
        model, (torch.zeros(1, 1, 8, 8),), input_names=["image"], output_names=["logits"], opset_version=18, dynamo=True
    )
    proto = program.model_proto
    for item in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    proto.ClearField("metadata_props")
    proto.graph.name = "digits"
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def accuracy(path: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of ``images`` [n, 1, 8, 8] that ONNX Runtime classifies right."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    right = sum(
        int(session.run(["logits"], {"image": image[None]})[0].argmax()) == label
        for image, label in zip(images, labels, strict=True)
    )
    return right / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=160)
    epochs = parser.parse_args().epochs
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    held_out = held_out_indices(digits.target)
    rest = np.setdiff1d(np.arange(len(images)), held_out)
    model = train(torch.from_numpy(images[rest]), torch.from_numpy(digits.target[rest]), epochs)
    export(model, MODEL)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{MODEL.name}: {parameters} parameters, {MODEL.stat().st_size / 1000:.0f} kB")
    print(
        f"accuracy on {len(held_out)} held-out images: {accuracy(MODEL, images[held_out], digits.target[held_out]):.2%}"
    )


if __name__ == "__main__":
    main()
