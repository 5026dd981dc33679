"""Trains one network; runs as a program of its own, where PyTorch is installed.

    python learner.py TASK.json

The task names an ONNX model for a batch of pictures with the weights to begin with, the pictures and labels (.npz), how
they become inputs, and where checkpoints and the trained weights (.npz, by the model's names) go. After each epoch a
checkpoint replaces the last one; the same task goes on there. Standard output says how far it is, a JSON object a line.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from onnx_to_torch import TRANSLATED, OnnxModule
from pictures import Picture, varied

RUNNING_SHARE = 0.1
"""Weight of a batch in the running mean and variance of batch normalisation."""
WARM_UP = 0.15
"""Share of the steps in which the rate rises."""
REPORTS = 20
"""Lines of progress in an epoch."""


class Trained(OnnxModule):
    """The model with weights that learn, and batch normalisation over the batch while they do."""

    def __init__(self, model: onnx.ModelProto) -> None:
        running = {name for n in model.graph.node if n.op_type == "BatchNormalization" for name in n.input[3:5]}
        TRANSLATED["BatchNormalization"] = self._normalisation
        super().__init__(_scores(model))
        self.weights = {}
        for i, tensor in enumerate(model.graph.initializer):
            found = getattr(self, f"w{i}", None)
            if found is not None:
                self.weights[tensor.name] = found
                found.requires_grad_(tensor.name not in running)
        # An untrained classifier that is sure of itself takes long to forget.
        for classifier in [n for n in model.graph.node if n.op_type == "Gemm"][-1:]:
            for name in classifier.input[1:]:
                torch.nn.init.zeros_(self.weights[name])

    def _normalisation(self, a: dict[str, Any], node: onnx.NodeProto) -> Any:
        epsilon = a.get("epsilon", 1e-5)

        def call(x: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Any:
            return torch.nn.functional.batch_norm(
                x, mean, variance, scale, shift, self.training, RUNNING_SHARE, epsilon
            )

        return call


def _scores(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without a softmax at its end, which the loss has already."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    last = model.graph.node[-1]
    if last.op_type == "Softmax":
        kind = model.graph.output[0].type.tensor_type
        shape = [d.dim_value for d in kind.shape.dim]
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info(last.input[0], kind.elem_type, shape))
        del model.graph.node[-1]
    return model


def rate(step: int, steps: int) -> float:
    """The learning rate as a share of the highest: up in a line, then down along half a cosine."""
    rise = WARM_UP * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / (steps - rise))


class Training:
    """One network's training.

    Args:
        task: see the module.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        model = onnx.load(task["model"])
        self.batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        self.module = Trained(model).to(memory_format=torch.channels_last)
        learning = [p for p in self.module.parameters() if p.requires_grad]
        # What a layer multiplies by is pulled towards zero; shifts and scales of channels are not.
        groups = [
            {"params": [p for p in learning if p.ndim > 1], "weight_decay": task["decay"]},
            {"params": [p for p in learning if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=task["rate"])
        with np.load(task["data"]) as data:
            self.pictures, self.labels = data["pictures"], data["labels"].astype(np.int64)
        self.picture = Picture(**task["picture"])
        self.steps = len(self.pictures) // self.batch
        self.checkpoint = Path(task["checkpoint"])

    def run(self) -> None:
        """Train what is missing, then write the weights."""
        for epoch in range(self._resumed(), self.task["epochs"]):
            self._epoch(epoch)
            state = {"epoch": epoch + 1, "module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}
            part = self.checkpoint.with_suffix(".part")
            torch.save(state, part)
            os.replace(part, self.checkpoint)
        weights = {name: p.detach().contiguous().numpy() for name, p in self.module.weights.items()}
        part = Path(self.task["weights"]).with_suffix(".part.npz")
        np.savez(part, **weights)
        os.replace(part, self.task["weights"])

    def _resumed(self) -> int:
        if not self.checkpoint.is_file():
            return 0
        state = torch.load(self.checkpoint)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["epoch"])

    def _epoch(self, epoch: int) -> None:
        rng = np.random.default_rng([self.task["seed"], epoch])
        order = rng.permutation(len(self.pictures))
        self.module.train()
        loss_sum, right, seen = 0.0, 0, 0
        for step in range(self.steps):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            pictures = self.pictures[chosen]
            if self.task["reach"]:
                pictures = varied(pictures, rng, self.task["reach"])
            x = torch.from_numpy(self.picture(pictures)).to(memory_format=torch.channels_last)
            y = torch.from_numpy(self.labels[chosen])
            for group in self.optimizer.param_groups:
                group["lr"] = self.task["rate"] * rate(epoch * self.steps + step, self.task["epochs"] * self.steps)
            (scores,) = self.module(x)
            loss = torch.nn.functional.cross_entropy(scores, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss_sum, right, seen = loss_sum + loss.item(), right + int((scores.argmax(1) == y).sum()), seen + len(y)
            if (step + 1) % max(1, self.steps // REPORTS) == 0 or step + 1 == self.steps:
                done, total = epoch * self.steps + step + 1, self.task["epochs"] * self.steps
                line = {"epoch": epoch + 1, "done": done, "total": total}
                line |= {"loss": loss_sum / (step + 1), "accuracy": right / seen}
                print(json.dumps(line), flush=True)


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.manual_seed(task["seed"])
    torch.set_num_threads(task["threads"])
    torch.use_deterministic_algorithms(True)
    Training(task).run()


if __name__ == "__main__":
    main()
