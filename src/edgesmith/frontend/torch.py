"""PyTorch to ONNX: the one place of the frontend that imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesmith.errors import BadInput, MissingDependency, ModelError

if TYPE_CHECKING:
    import torch  # type: ignore[import-not-found, unused-ignore]

__all__ = ["export"]


def export(module: torch.nn.Module, example: Any, path: Path, *, traced: bool = False) -> None:
    """Write a module as an ONNX file with the shapes of ``example``.

    PyTorch's current exporter is tried first, then the one that traces. Where the module gives a dict, its
    keys name the outputs.

    Args:
        example: one input, or a tuple of inputs, or a dict of them by argument name; on any device.
        path: the file to write; large weights go beside it.
        traced: the other way round: tracing takes a tenth of the time.

    Raises:
        MissingDependency: PyTorch is not installed.
        BadInput: ``module`` is no module.
        ModelError: PyTorch cannot export it.
        OSError: the file cannot be written.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(
            "PyTorch is not installed", where="from_torch", hint="install it: pip install edgesmith[train]"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise BadInput(f"{type(module).__name__} is no torch.nn.Module", where="from_torch")
    named = dict(example) if isinstance(example, Mapping) else {}
    given = () if named else example if isinstance(example, tuple) else (example,)
    modes = [(part, part.training) for part in module.modules()]
    where = next((p.device for p in module.parameters()), None)
    given, named = _placed(given, where), _placed(named, where)
    module.eval()
    failures = []
    try:
        for dynamo in (False, True) if traced else (True, False):
            try:
                with torch.no_grad():
                    names = _output_names(module(*given, **named))
                torch.onnx.export(
                    module, given, path, kwargs=named, dynamo=dynamo, output_names=names, **_options(dynamo)
                )
                return
            except OSError:  # of the file to write: another exporter would not get further
                raise
            except Exception as error:  # whatever the module itself and the exporter raise
                said = (str(error).strip().splitlines() or [""])[0][:200]
                failures.append(f"{'exported' if dynamo else 'traced'}: {type(error).__name__}: {said}")
    finally:
        for part, mode in modes:
            part.training = mode
    raise ModelError(
        f"PyTorch cannot export the module: {'; then, '.join(failures)}",
        where=type(module).__name__,
        hint="export it with torch.onnx.export and compile the file",
    )


def _placed(value: Any, device: Any) -> Any:
    """A tensor, or those in tuples, lists and dicts, on a module's device."""
    if isinstance(value, Mapping):
        return {k: _placed(v, device) for k, v in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_placed(v, device) for v in value)
    return value.to(device) if device is not None and hasattr(value, "to") else value


def _output_names(outputs: Any) -> list[str] | None:
    """The keys of a module's outputs where those are a dict of tensors."""
    if isinstance(outputs, Mapping) and all(hasattr(o, "shape") for o in outputs.values()):
        return [str(key) for key in outputs]
    return None


def _options(dynamo: bool) -> dict[str, Any]:
    return {"verbose": False, "external_data": True} if dynamo else {"verbose": False, "opset_version": 17}
