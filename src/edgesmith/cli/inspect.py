"""``edgesmith inspect``: a model's layers and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from edgesmith.bench.machine import this_machine
from edgesmith.cli import arguments
from edgesmith.cli.arguments import BindOption, ShapeOption
from edgesmith.cli.console import console, error_console, figures, print_json, table
from edgesmith.cli.zoo import print_networks
from edgesmith.errors import BadInput
from edgesmith.frontend.onnx import read
from edgesmith.passes import optimize
from edgesmith.report.network import Layer, Limit, Network, analyze
from edgesmith.report.units import count, duration, nbytes, rate, shape
from edgesmith.target import Machine


def command(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="An ONNX file, or zoo:NAME.")] = None,
    shape: ShapeOption = None,
    bind: BindOption = None,
    sort: Annotated[str, typer.Option(help="Order of the layers: order, macs, params, bytes or time.")] = "order",
    threads: Annotated[int, typer.Option(min=1, help="Cores that the limit assumes.")] = 1,
    gflops: Annotated[
        float | None, typer.Option(help="Peak of another machine, with --gbps; this machine is measured otherwise.")
    ] = None,
    gbps: Annotated[float | None, typer.Option(help="Memory bandwidth of that machine in GB/s.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    list_zoo: Annotated[bool, typer.Option("--zoo", help="List the built-in networks with published figures.")] = False,
) -> None:
    """Show a model's layers: shapes, MACs, parameters, traffic, arithmetic intensity and roofline bound.

    The layers are those that are compiled: constants and batch normalisation folded, elementwise operators with the
    operator they follow. MACs and parameters are counted as publications do: multiply-adds of convolutions, fully
    connected layers and matrix products; weights, biases, and scale and shift of batch normalisation.

    The limit is the roofline: the larger of the operations at peak speed and the bytes at the bandwidth of the cache
    that can hold them. No program on the machine is faster with this algorithm.

    \b
    Examples:
      edgesmith inspect model.onnx
      edgesmith inspect model.onnx --shape x=1,3,224,224 --sort time
      edgesmith inspect zoo:mobilenet-v2 --gflops 16 --gbps 4      (a small board)
      edgesmith inspect model.onnx --json | jq .macs
      edgesmith inspect --zoo
    """
    if list_zoo:
        print_networks(as_json)
        return
    if model is None:
        raise BadInput("which model?", where="inspect", hint="edgesmith inspect model.onnx, or --zoo for a list")
    if sort not in _KEYS:
        raise BadInput(f"cannot sort by {sort!r}", where="--sort", hint=f"one of {', '.join(_KEYS)}")
    original = read(arguments.model(model), shapes=arguments.shapes(shape), bindings=arguments.bindings(bind))
    network = analyze(optimize(original)[0], original)
    machine = _machine(gflops, gbps, threads)
    if as_json:
        print_json(network.to_json(machine))
    else:
        _print(network, machine, sort)


_KEYS: dict[str, Callable[[Layer, Limit], float]] = {
    "order": lambda layer, limit: 0,
    "macs": lambda layer, limit: -layer.macs,
    "params": lambda layer, limit: -layer.parameters,
    "bytes": lambda layer, limit: -layer.bytes,
    "time": lambda layer, limit: -limit.ns,
}


def _machine(gflops: float | None, gbps: float | None, threads: int) -> Machine:
    if gflops is None and gbps is None:
        with error_console().status("measuring this machine"):
            return this_machine(threads)
    if not gflops or not gbps or gflops <= 0 or gbps <= 0:
        raise BadInput("peak and bandwidth belong together", where="--gflops", hint="for example --gflops 16 --gbps 4")
    return Machine("given", "given", threads, gflops * 1e9, ((1, gbps * 1e9),))


def _print(network: Network, machine: Machine, sort: str) -> None:
    limits = network.limits(machine)
    total_ns = sum(limit.ns for limit in limits) or 1.0
    rows: list[tuple[Layer, Limit]] = sorted(zip(network.layers, limits, strict=True), key=lambda r: _KEYS[sort](*r))
    shown = table("", "layer|operators|window|output|>MACs|>params|>bytes|>FLOP/B|bound|>limit|>share")
    for layer, limit in rows:
        shown.add_row(
            layer.name,
            layer.operators,
            layer.detail,
            ", ".join(shape(s) for s in layer.outputs),
            count(layer.macs) if layer.macs else "",
            count(layer.parameters) if layer.parameters else "",
            nbytes(layer.bytes),
            f"{layer.intensity:.2f}" if layer.intensity else "",
            "view" if layer.moves else limit.bound,
            "" if layer.moves else duration(limit.ns),
            "" if layer.moves else f"{limit.ns / total_ns:.1%}",
        )
    out = console()
    out.print(shown)
    compute = sum(limit.ns for limit in limits if limit.bound == "compute")
    out.print(
        figures(
            [
                ("model", network.name),
                ("inputs", ", ".join(f"{v} {t}" for v, t in network.inputs.items())),
                ("outputs", ", ".join(f"{v} {t}" for v, t in network.outputs.items())),
                ("layers", str(len(network.layers))),
                ("MACs", f"{count(network.macs)}  ({network.macs:,})"),
                ("parameters", f"{count(network.parameters)}  ({network.parameters:,})"),
                ("weights", nbytes(network.weight_bytes)),
                ("activations moved", nbytes(network.activation_bytes)),
                ("roofline limit", f"{duration(total_ns)}, {compute / total_ns:.0%} of it bound by compute"),
                (
                    "machine",
                    f"{machine.name}, {machine.isa}, {machine.threads} thread{'s' * (machine.threads > 1)}: "
                    f"{rate(machine.flops, 'FLOP/s')}, {rate(machine.bandwidths[-1][1], 'B/s')} from memory",
                ),
            ]
        )
    )
