"""Replacing layers of a network by low-rank factors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from edgesmith.compress.layer_names import refuse_unused
from edgesmith.compress.lowrank.candidates import layer_names, refuse_not_finite, unsupported
from edgesmith.compress.lowrank.method import Layer, Method, Ranks, method_named
from edgesmith.compress.lowrank.network import Network, fill
from edgesmith.compress.lowrank.rules import Choice, Energy, Fixed, RankRule
from edgesmith.compress.lowrank.shape import LayerShape, written
from edgesmith.compress.tracing import refuse_wrapped
from edgesmith.errors import BadInput

__all__ = ["Factorized", "Replaced", "factorize", "factorize_layer"]

MethodLike = str | Method | Sequence[str | Method]


@dataclass(frozen=True)
class Replaced:
    """One layer that was replaced.

    Attributes:
        name: its path, where the factors are now.
        method: of them.
        ranks: of the method.
        error: norm of what is lost over the norm of the whole: of the layer's outputs where calibration data were
            given, or else of its weights.
        macs_before: multiply-adds in one evaluation of the example.
        macs_after: the same, of the factors.
        aliases: further paths of the same layer.
        options: of the method.
    """

    name: str
    method: str
    ranks: Ranks
    error: float
    macs_before: int
    macs_after: int
    aliases: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Factorized:
    """A network with low-rank factors.

    Attributes:
        module: a copy of the given one, with plain ``torch.nn`` layers.
        layers: those that were replaced.
        untouched: (name, reason) of other layers with weights.
    """

    module: nn.Module
    layers: list[Replaced]
    untouched: list[tuple[str, str]]

    def to_json(self) -> str:
        """What ``apply_shape`` needs to make the same architecture of the original module."""
        return written([LayerShape(r.name, r.method, r.ranks, r.aliases, r.options) for r in self.layers])


def factorize(
    module: nn.Module,
    example: Any,
    method: MethodLike = ("tucker2", "channel", "svd"),
    rank: RankRule | None = None,
    *,
    include: str | Sequence[str] = ("*",),
    exclude: str | Sequence[str] = (),
    data: Iterable[Any] | None = None,
) -> Factorized:
    """Replace layers by low-rank factors where these need fewer multiply-adds.

    With ``data``, factors are chosen for the outputs that layers make of it rather than for their weights, which loses
    much less at the same ranks: those of ``svd`` and ``channel`` are the best ones of their rank; other methods weigh
    input channels by the data, and fit the last factor to the outputs.

    Args:
        module: any module; it stays as it is.
        example: one input, or a tuple of inputs.
        method: names of ``METHODS`` or methods; of several, each layer takes the first that accepts it.
        rank: how ranks are chosen; ``Energy(0.9)`` by default.
        include: shell patterns of the layers that may be replaced, or one.
        exclude: shell patterns of layers that may not, or one.
        data: batches for calibration: inputs, or tuples that begin with them. Some hundred samples suffice.

    Raises:
        BadInput: there is no such method, ``rank`` is no rule, a pattern fits no layer, the module does not run on the
            example or on the data, there are no batches, parameters of a layer or what it makes of the data are not
            finite, or the module is wrapped to run in parallel or compiled.
        DoesNotFit: the rule's target is out of reach.
    """
    methods = _methods(method)
    if rank is not None and not isinstance(rank, RankRule):
        raise BadInput(
            f"{rank!r} is no rule", where="rank", hint="such as Fixed(8), Ratio(0.5) or MacsTarget(share=0.5)"
        )
    refuse_wrapped(module)
    rule = rank or Energy(0.9)
    names = layer_names(module)
    for where, patterns in (("include", include), ("exclude", exclude), ("rank", rule.patterns())):
        refuse_unused(patterns, names, where)
    batches = tuple(data) if data is not None and iter(data) is data else data
    network = Network(module, example, methods, include, exclude, batches)
    choice: Choice = rule.choose(network)
    result = network.built(choice.ranks)
    layers = []
    for name, ranks in choice.ranks.items():
        candidate = network.candidates[name]
        layers.append(
            Replaced(
                name,
                candidate.method.name,
                ranks,
                network.error(name, ranks),
                network.macs(name),
                network.macs(name, ranks),
                candidate.aliases,
                candidate.method.options(),
            )
        )
    return Factorized(result, layers, [*network.untouched, *choice.refused.items()])


def factorize_layer(layer: Layer, method: str | Method, ranks: int | Sequence[int]) -> nn.Sequential:
    """One layer's factors, whether they are smaller or not.

    Args:
        ranks: those of the method, or this one for each; at most the layer's full ranks.

    Raises:
        BadInput: there is no such method, it does not take the layer or nothing can replace it, the number of ranks is
            wrong or one is below 1, or parameters of the layer are not finite.
    """
    (chosen,) = _methods(method)
    rule = Fixed(ranks)
    kind = f"a {type(layer).__name__} layer"
    refusal = unsupported(layer, {})
    if refusal:
        raise BadInput(refusal, where=kind, hint="factors replace plain Linear and Conv2d layers of one group")
    refuse_not_finite(layer, kind, "leave it as it is")
    refusal = chosen.refuses(layer)
    if refusal:
        raise BadInput(refusal, where=f"method {chosen.name!r}")
    decomposition = chosen.decompose(layer)
    fitted = rule.fitted(decomposition)
    return fill(chosen.structure(layer, fitted), decomposition.factors(fitted), layer)


def _methods(method: MethodLike) -> list[Method]:
    given = [method] if isinstance(method, str | Method) else list(method)
    if not given:
        raise BadInput("there is no method", where="method", hint="such as method=('tucker2', 'channel', 'svd')")
    return [each if isinstance(each, Method) else method_named(each) for each in given]
