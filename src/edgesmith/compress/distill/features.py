"""What layers compute, caught while a module runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgesmith.compress.misfit import evaluated_on
from edgesmith.compress.training.evaluate import logits_of
from edgesmith.errors import BadInput

__all__ = ["Features", "on_example"]

_INPUT = ":input"


class Features:
    """Outputs of layers, by name as in ``named_modules``; ``name:input`` is the first argument of the layer instead.

    They are copies, as they were when the layer ran: that a later layer writes over them in place, as
    ``ReLU(inplace=True)`` does, is known too late to keep the tensor itself. Gradients flow through them.

    Args:
        module: keeps a hook in each layer until ``close``.
        names: layers.
        whose: the module's name in messages.

    Raises:
        BadInput: there is no such layer; the message lists similar names.
    """

    def __init__(self, module: nn.Module, names: Iterable[str], whose: str) -> None:
        self._whose = whose
        self._caught: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        layers = dict(module.named_modules())
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            if name.removesuffix(_INPUT) not in layers or not name.removesuffix(_INPUT):
                raise BadInput(
                    f"there is no layer {name.removesuffix(_INPUT)!r}", where=whose, hint=_similar(name, layers)
                )
        for name in wanted:
            layer = layers[name.removesuffix(_INPUT)]
            if name.endswith(_INPUT):
                self._handles.append(layer.register_forward_pre_hook(self._input_hook(name)))
            else:
                self._handles.append(layer.register_forward_hook(self._output_hook(name)))

    def _output_hook(self, name: str) -> Any:
        def catch(layer: nn.Module, inputs: Any, output: Any) -> None:
            self._caught[name] = logits_of(output).clone()

        return catch

    def _input_hook(self, name: str) -> Any:
        def catch(layer: nn.Module, inputs: Any) -> None:
            self._caught[name] = logits_of(inputs).clone()

        return catch

    def __getitem__(self, name: str) -> Tensor:
        """What the layer computed since the last ``clear``.

        Raises:
            BadInput: the layer has not run.
        """
        if name not in self._caught:
            raise BadInput(
                f"layer {name!r} has not run",
                where=self._whose,
                hint="evaluate the student on the batch first; a layer that it does not use cannot be distilled",
            )
        return self._caught[name]

    def clear(self) -> None:
        """Forget, so that memory is freed and nothing stale is used."""
        self._caught.clear()

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.clear()


def on_example(whose: str) -> AbstractContextManager[None]:
    """Around the evaluation of ``whose`` module on the example.

    Raises:
        BadInput: it does not run.
    """
    return evaluated_on("the example", where=whose, hint="example=inputs, a batch as the module gets it in training")


def _similar(name: str, layers: Iterable[str]) -> str:
    names = [layer for layer in layers if layer]
    near = difflib.get_close_matches(name.removesuffix(_INPUT), names, 5, 0.5) or names[:8]
    return f"similar: {', '.join(near)}" if near else "the module has no layers"
