"""A module as a torch.fx graph that shares its parameters, with the shape of every value.

Tracing runs the module on real inputs beside the symbols, so that code that looks at shapes (``if x.ndim == 3``,
``for i in range(len(maps))``) is followed as it goes for these inputs, and only control flow inside a submodule
that depends on what a proxy cannot answer makes this submodule a leaf.
"""

from __future__ import annotations

import builtins
import inspect
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import fx, nn

from edgesmith.compress.hooks import refuse_hooks
from edgesmith.compress.memory import memory_of
from edgesmith.compress.misfit import evaluated_on
from edgesmith.compress.nested import map_tensors, tensors
from edgesmith.errors import BadInput, ModelError

__all__ = [
    "CONSTANT",
    "Shape",
    "Traced",
    "as_inputs",
    "evaluating",
    "inputs_of",
    "operands",
    "refuse_wrapped",
    "trace",
    "version",
]

CONSTANT = "_tensor_constant"
"""What names begin with that torch.fx gives to tensors which a network's code makes."""

_LAYERS = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.Linear,
    nn.Embedding,
)
_FACTORIES = ("zeros", "ones", "empty", "full", "rand", "randn", "arange", "linspace", "eye", "tensor", "as_tensor")
_LEN = len
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, torch.jit.ScriptModule)
_LAYERS_OF_LAYERS = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.AdaptiveLogSoftmaxWithLoss)


@dataclass(frozen=True, slots=True)
class Shape:
    """Stands for a tensor in ``node.meta["value"]``."""

    sizes: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced module.

    Attributes:
        module: what was traced.
        graph: shares parameters, buffers and leaf modules with the module. In ``node.meta`` of every node but the
            output, ``value`` is what the node gave for the example, with ``Shape`` in the place of tensors; ``memory``
            says where these lie; ``writes`` is the place, among all nodes in the arguments, of the one that the node
            wrote over, or None; ``owner`` is the name of the submodule whose code the node comes from.
        opaque: submodules that could not be traced and are leaves: name to reason.
    """

    module: nn.Module
    graph: fx.GraphModule
    opaque: Mapping[str, str]


def refuse_wrapped(module: nn.Module) -> None:
    """
    Raises:
        BadInput: the module stands for another one, in parallel or compiled, whose layers cannot be changed through it;
            or it holds a tensor with a history of gradients, as hooks of weight norm leave, which cannot be copied.
    """
    if isinstance(module, _WRAPPERS) or hasattr(module, "_orig_mod"):
        raise BadInput(
            f"{type(module).__name__} wraps a module that runs in parallel or is compiled",
            where="module",
            hint="give the module that was wrapped, such as wrapper.module, or before torch.compile or torch.jit",
        )
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            if isinstance(value, torch.Tensor) and value.grad_fn is not None:
                raise BadInput(
                    f"{attribute!r} is a result that gradients flow through, which cannot be copied",
                    where=name or type(module).__name__,
                    hint="evaluate the module once under torch.no_grad(), or take hooks such as weight norm off it",
                )


def as_inputs(example: Any) -> tuple[Any, ...]:
    """Positional arguments: ``example`` itself if it is a tuple, else as the only one."""
    return example if isinstance(example, tuple) else (example,)


def inputs_of(module: nn.Module, batch: Any) -> tuple[Any, ...]:
    """What of a batch a module gets: the batch itself, or as many of its first parts as ``forward`` needs.

    So batches (inputs, labels) of any training loop serve as they are. A ``forward`` that takes any number of inputs
    gets all but the last part.
    """
    if not isinstance(batch, (tuple, list)):
        return (batch,)
    parameters = inspect.signature(module.forward).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return tuple(batch[: max(len(batch) - 1, 1)])
    positional = (p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    return tuple(batch[: max(sum(p.default is p.empty for p in positional), 1)])


@contextmanager
def evaluating(module: nn.Module, training: bool = False) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every submodule's mode is as before.

    Args:
        training: training mode instead, in which batch normalisations evaluate nevertheless, for batches of one.
    """
    modes = [(m, m.training) for m in module.modules()]
    module.train(training)
    for norm, _ in modes:
        if isinstance(norm, nn.modules.batchnorm._NormBase):
            norm.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for submodule, training in modes:
            submodule.training = training


def trace(module: nn.Module, example: Any, training: bool = False) -> Traced:
    """Trace a module in evaluation mode, or as ``evaluating`` has it in training.

    Functions that are marked with ``torch.fx.wrap`` are followed, too, where their code can be.

    Leaves are the layers of ``torch.nn`` and subclasses of its convolutions, linear layers, batch normalisations and
    embeddings; and, with a reason, submodules whose control flow depends on data.

    Args:
        example: one input, or a tuple of positional inputs; arguments after these keep their defaults.

    Raises:
        BadInput: ``module`` does not run on ``example``, is wrapped to run in parallel or compiled, or would compute
            something else without its forward hooks.
        ModelError: the module's own ``forward`` (not that of a submodule) cannot be traced.
    """
    refuse_wrapped(module)
    inputs = as_inputs(example)
    with evaluating(module, training):
        hint = "give one input, or a tuple of the positional inputs"
        with evaluated_on("the example", where=type(module).__name__, hint=hint):
            module(*_clones(inputs))
        refuse_hooks(module, inputs)
        opaque: dict[str, str] = {}
        calls: set[str] = set()
        while True:
            tracer, before = _Tracer(inputs, opaque, calls), set(vars(module))
            try:
                with _followed(tracer):
                    graph = fx.GraphModule(module, tracer.trace(module), type(module).__name__)
                return Traced(module, graph, opaque)
            except Exception as error:
                if tracer.failed_in in tracer.followed_in:
                    calls.add(tracer.failed_in)
                    continue
                why = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
                if not tracer.failed_in:
                    raise ModelError(
                        f"its forward cannot be traced: {why}",
                        where=type(module).__name__,
                        hint="move code that depends on values of tensors into a submodule; it is then left as it is",
                    ) from error
                opaque[tracer.failed_in] = why
            finally:
                for constant in set(vars(module)) - before:  # torch.fx leaves tensors that the code makes here
                    delattr(module, constant)


def operands(node: fx.Node) -> list[fx.Node]:
    """All nodes among a node's arguments, in order; twice where they come twice."""
    found: list[fx.Node] = []

    def keep(operand: fx.Node) -> fx.Node:
        found.append(operand)
        return operand

    fx.node.map_arg((node.args, node.kwargs), keep)
    return found


def version(tensor: torch.Tensor) -> int:
    """How often a tensor's memory was written over, as far as PyTorch counts that."""
    return 0 if tensor.is_inference() else tensor._version


def _shape(tensor: torch.Tensor) -> Shape:
    return Shape(tuple(tensor.shape), tensor.dtype)


@contextmanager
def _followed(tracer: _Tracer) -> Iterator[None]:
    """While active, ``tracer`` decides about functions that are marked with ``torch.fx.wrap``, and about those that
    do not ask proxies: those that make tensors of sizes, and ``len``.

    Authors mark what torch.fx cannot follow by itself, such as code that looks at shapes.
    """
    marked = fx._symbolic_trace._wrapped_fns_to_patch
    before = dict(marked)
    marked.clear()
    replaced: list[tuple[Any, str, Any]] = []
    for (_, name), namespace in before.items():
        function = namespace.get(name)
        if isinstance(function, FunctionType):
            replaced.append((namespace, name, function))

            def call(*args: Any, _function: FunctionType = function, **kwargs: Any) -> Any:
                return tracer.called(_function, args, kwargs)

            namespace[name] = call
    for name in _FACTORIES:
        function = getattr(torch, name)
        replaced.append((vars(torch), name, function))

        def make(*args: Any, _function: Callable[..., Any] = function, **kwargs: Any) -> Any:
            return tracer.made(_function, args, kwargs)

        setattr(torch, name, make)
    replaced.append((vars(builtins), "len", builtins.len))
    builtins.len = tracer.length
    try:
        yield
    finally:
        for namespace, name, function in replaced:
            namespace[name] = function
        marked.update(before)


def _any_proxy(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_any_proxy, value))
    return any(map(_any_proxy, value.values())) if isinstance(value, dict) else isinstance(value, fx.Proxy)


def _plain(value: Any) -> Any:
    """Lists and dicts of torch.fx, which nothing may change, as those of Python, which functions do change."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return tuple(_plain(v) for v in value) if type(value) is tuple else value


def _clones(inputs: tuple[Any, ...]) -> list[Any]:
    return [map_tensors(i, torch.clone) for i in inputs]


class _Proxy(fx.Proxy):
    """Answers what Python insists on having as a value; such an answer becomes a literal in the graph."""

    tracer: _Tracer

    def __getattr__(self, name: str) -> _Attribute:  # type: ignore[override, unused-ignore]
        return _Attribute(self, name)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})

    def __len__(self) -> int:
        return len(self.tracer.concrete[self.node])

    def __index__(self) -> int:
        return int(self.tracer.concrete[self.node])

    def __int__(self) -> int:
        return int(self.tracer.concrete[self.node])

    def __float__(self) -> float:
        return float(self.tracer.concrete[self.node])


def _writing(function: Callable[[Any, Any], Any]) -> Callable[[_Proxy, Any], Any]:
    """``x += y`` and the like; without them Python takes ``x + y``, and other names of ``x`` keep what it was."""

    def call(self: _Proxy, other: Any) -> Any:
        if not isinstance(self.tracer.concrete[self.node], torch.Tensor):
            return NotImplemented
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return call


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    setattr(_Proxy, f"__i{_name}__", _writing(getattr(operator, f"i{_name}")))


class _Attribute(_Proxy):
    """``proxy.name``; a node only when used as a value, so that method calls stay method calls."""

    def __init__(self, root: _Proxy, name: str) -> None:
        self.root, self.attr, self.tracer = root, name, root.tracer
        self._node: fx.Node | None = None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.tracer.concrete[self.root.node], self.attr, None)
        return getattr(value, name) if isinstance(value, torch.device) else super().__getattr__(name)

    @property
    def node(self) -> Any:  # type: ignore[override, unused-ignore]
        if self._node is None:
            self._node = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {}).node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True

    def __init__(self, inputs: tuple[Any, ...], opaque: Mapping[str, str], calls: Collection[str]) -> None:
        super().__init__()
        self.followed_in: set[str] = set()
        self._calls = calls
        self.concrete: dict[fx.Node, Any] = {}
        self.failed_in = ""
        self._inputs, self._opaque = _clones(inputs), opaque
        self._running = False
        self._owners: list[str] = [""]

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        parameters = list(inspect.signature(self.root.forward).parameters.values())
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        names += [f"input_{i}" for i in range(len(names), len(self._inputs))]
        arguments = [self.create_proxy("placeholder", name, (), {}) for name in names[: len(self._inputs)]]
        return inspect.unwrap(root_fn), [self.root, *arguments]

    def called(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a function gives that ``torch.fx.wrap`` marks: its code is followed, or else it is a call."""
        if self._running or not _any_proxy((args, kwargs)):
            return function(*args, **kwargs)
        if self._owners[-1] in self._calls:
            return self.create_proxy("call_function", function, args, kwargs)
        self.followed_in.add(self._owners[-1])
        return function(*args, **kwargs)

    def made(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a function gives that makes a tensor: of sizes that depend on the input, it is a call."""
        if self._running or not _any_proxy((args, kwargs)):
            return function(*args, **kwargs)
        return self.create_proxy("call_function", function, args, kwargs)

    def length(self, value: Any) -> Any:
        """What ``len`` gives: for tensors, whose first axis is mostly that of a batch, no number but a value."""
        if isinstance(value, _Proxy) and not self._running and isinstance(self.concrete[value.node], torch.Tensor):
            shape: Any = value.shape
            return shape[0]
        return _LEN(value)

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        if name in self._opaque or isinstance(module, nn.MultiheadAttention):
            return True
        if isinstance(module, _LAYERS):
            return not any(True for child in module.children() for _ in child.parameters())
        if not type(module).__module__.startswith("torch.nn") or isinstance(module, _CONTAINERS):
            return False
        return isinstance(module, _LAYERS_OF_LAYERS) or not any(True for _ in module.children())

    def call_module(self, module: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._running:
            return forward(*args, **kwargs)
        name = self.path_of_module(module)
        self._owners.append(name)
        try:
            return super().call_module(module, forward, args, kwargs)
        except Exception:
            self.failed_in = self.failed_in or name
            raise
        finally:
            self._owners.pop()

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._running:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> _Proxy:
        return _Proxy(node, self)

    def create_node(self, kind: str, target: Any, *rest: Any, **options: Any) -> fx.Node:
        node = super().create_node(kind, target, *rest, **options)
        if kind == "get_attr":  # also of tensors that the code makes, for which torch.fx asks no proxy
            self._note(node)
        return node

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **options: Any) -> Any:
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **options)
        if kind != "get_attr":
            self._note(proxy.node)
        return proxy

    def _note(self, node: fx.Node) -> None:
        given = [tensors(self.concrete[operand]) for operand in operands(node)]
        before = [list(map(version, part)) for part in given]
        value = self._run(node)
        changed = (i for i, part in enumerate(given) if list(map(version, part)) != before[i])
        self.concrete[node] = value
        node.meta["value"] = map_tensors(value, _shape)
        node.meta["memory"] = tuple(m for m in map(memory_of, tensors(value)) if m)
        node.meta["writes"] = next(changed, None)
        node.meta["owner"] = self._owners[-1]

    def _run(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._inputs.pop(0)
        args, kwargs = _plain(fx.node.map_arg((node.args, node.kwargs), self.concrete.__getitem__))
        self._running = True
        try:
            if node.op == "get_attr":
                return operator.attrgetter(str(node.target))(self.root)
            if node.op == "call_module":
                return self.root.get_submodule(str(node.target))(*args, **kwargs)
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            return node.target(*args, **kwargs)  # type: ignore[operator]
        finally:
            self._running = False

    def to_bool(self, obj: Any) -> bool:
        value = self.concrete[obj.node]
        if isinstance(value, torch.Tensor):
            return bool(super().to_bool(obj))
        return bool(value)

    def iter(self, obj: Any) -> Iterator[Any]:
        value = self.concrete[obj.node]
        if isinstance(value, (tuple, list, torch.Tensor)):
            return iter([obj[i] for i in range(len(value))])
        return super().iter(obj)

    def keys(self, obj: Any) -> Any:
        value = self.concrete[obj.node]
        return list(value) if isinstance(value, dict) else super().keys(obj)
