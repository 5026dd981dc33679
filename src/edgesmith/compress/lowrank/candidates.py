"""Layers of a network that factors can replace, and the others with a reason."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgesmith.compress.layer_names import not_chosen
from edgesmith.compress.lowrank.method import Layer, Method
from edgesmith.compress.lowrank.placing import replaced
from edgesmith.compress.misfit import evaluated_on
from edgesmith.compress.tracing import as_inputs, evaluating
from edgesmith.errors import BadInput

__all__ = ["Candidate", "candidates", "layer_names", "refuse_not_finite", "unsupported"]

LAYERS = (
    nn.Linear,
    nn.Bilinear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


@dataclass(frozen=True)
class Candidate:
    """A layer that a method can replace.

    Attributes:
        name: its path in the module.
        aliases: further paths of the same layer.
        method: the first that takes it.
        shapes: of its input, one for each time that the example evaluates it.
    """

    name: str
    aliases: tuple[str, ...]
    layer: Layer
    method: Method
    shapes: tuple[torch.Size, ...]


def layer_names(module: nn.Module) -> list[str]:
    """Of all layers that ``candidates`` takes or lists with a reason."""
    return [name for name, part in module.named_modules() if isinstance(part, LAYERS)]


def candidates(
    module: nn.Module,
    example: Any,
    methods: Sequence[Method],
    include: str | Sequence[str],
    exclude: str | Sequence[str],
) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """Candidates in the order of the module tree, and (name, reason) of all other layers with weights.

    Args:
        example: one input, or a tuple of inputs.
        include: shell patterns of names, or one; the others are left alone.
        exclude: shell patterns of names that are left alone, or one.

    Raises:
        BadInput: the module does not run on ``example``, or parameters of a candidate are not finite.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        if isinstance(part, LAYERS):
            names.setdefault(part, []).append(name)
    shapes = _input_shapes(module, list(names), example)
    owners = Counter(id(p) for part in module.modules() for p in part.parameters(recurse=False))
    found: list[Candidate] = []
    left: list[tuple[str, str]] = []
    for part, (name, *aliases) in names.items():
        reason = unsupported(part, owners) or not_chosen(name, include, exclude)
        if not reason and not shapes[part]:
            reason = "the example does not evaluate it as a module"
        if reason:
            left.append((name, reason))
            continue
        assert isinstance(part, nn.Linear | nn.Conv2d)
        refusals = [method.refuses(part) for method in methods]
        taker = next((m for m, refusal in zip(methods, refusals, strict=True) if refusal is None), None)
        if taker is None:
            left.append((name, "; ".join(refusal for refusal in refusals if refusal)))
        else:
            refuse_not_finite(part, f"layer {name!r}", f"exclude={name!r}")
            found.append(Candidate(name, tuple(aliases), part, taker, tuple(shapes[part])))
    irreplaceable = _irreplaceable(module, example, found)
    left += irreplaceable.items()
    return [candidate for candidate in found if candidate.name not in irreplaceable], left


def _irreplaceable(module: nn.Module, example: Any, found: Sequence[Candidate]) -> dict[str, str]:
    """Layers of which the network's code uses more than their outputs, such as their weights, and what happens then."""

    def failure(chosen: Sequence[Candidate]) -> str:
        copied = copy.deepcopy(module)
        for candidate in chosen:
            boxed = nn.Sequential(copied.get_submodule(candidate.name))
            for path in (candidate.name, *candidate.aliases):
                copied = replaced(copied, path, boxed)
        try:
            _run(copied, example)
        except Exception as error:  # whatever the network's code raises
            return f"{type(error).__name__}: {error}"
        return ""

    if not found or not failure(found):
        return {}
    alone = ((candidate.name, failure([candidate])) for candidate in found)
    return {name: f"the network's code uses more of it than its outputs ({why})" for name, why in alone if why}


def unsupported(layer: nn.Module, owners: Mapping[int, int]) -> str | None:
    """Why no method can replace a layer, or None.

    Args:
        owners: how many layers have a parameter, by its ``id``.
    """
    kind = type(layer)
    if kind is not nn.Linear and kind is not nn.Conv2d:
        return f"{kind.__name__} is not supported"
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        kind_of = "depthwise" if layer.groups == layer.in_channels else "grouped"
        return f"{kind_of} convolution ({layer.groups} groups)"
    if "forward" in vars(layer):
        return "its forward was replaced"
    own = dict(layer.named_parameters(recurse=False))
    if "weight" not in own or set(layer.state_dict()) - {"weight", "bias"}:
        return "its weight is computed from other parameters"
    if any(owners.get(id(parameter), 1) > 1 for parameter in own.values()):
        return "it shares a parameter with another layer"
    if not own["weight"].is_floating_point() or own["weight"].is_meta:
        return "its weight has no numbers to factorise"
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return "it has hooks, which its factors would lack" if any(hooks) else None


def refuse_not_finite(layer: nn.Module, where: str, otherwise: str) -> None:
    """
    Args:
        otherwise: what the user may do where the parameters are as they should be.

    Raises:
        BadInput: some of the layer's parameters are NaN or infinite.
    """
    for name, values in layer.named_parameters(recurse=False):
        if not bool(torch.isfinite(values).all()):
            hint = f"look for what made it NaN or infinite in training, or {otherwise}"
            raise BadInput(f"its {name} is not finite", where=where, hint=hint)


def _input_shapes(module: nn.Module, layers: Sequence[nn.Module], example: Any) -> dict[nn.Module, list[torch.Size]]:
    shapes: dict[nn.Module, list[torch.Size]] = {layer: [] for layer in layers}

    def hook(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            shapes[layer].append(inputs[0].shape)

    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        with evaluated_on(
            "the example", where=type(module).__name__, hint="give one input, or a tuple of the positional inputs"
        ):
            _run(module, example)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _run(module: nn.Module, example: Any) -> None:
    with evaluating(module):
        module(*as_inputs(example))
