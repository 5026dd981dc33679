"""Parts of a module by their paths."""

from __future__ import annotations

from torch import nn

__all__ = ["replaced"]


def replaced(module: nn.Module, name: str, part: nn.Module) -> nn.Module:
    """The module with another part at a path, which is changed in place; the part itself where the path is empty."""
    if not name:
        return part
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, part)
    return module
