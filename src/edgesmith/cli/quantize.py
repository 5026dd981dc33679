"""``edgesmith quantize``: a float model becomes an integer one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edgesmith import api
from edgesmith.atomic import write_file
from edgesmith.cli import arguments
from edgesmith.cli.arguments import BindOption, ModelArgument, ShapeOption
from edgesmith.cli.console import console, error_console, figures, print_json, table
from edgesmith.cli.picture import (
    BgrOption,
    FitOption,
    LayoutOption,
    MeanOption,
    ScaleOption,
    SizeOption,
    StdOption,
    preprocessing,
)
from edgesmith.cli.progress import stages
from edgesmith.cli.quantizing import ActivationsOption, CalibrationOption, element_type
from edgesmith.errors import BadInput
from edgesmith.ir import DType
from edgesmith.quantize import Quantized, Settings
from edgesmith.quantize.labels import read_labels
from edgesmith.quantize.mixed_precision import Choice
from edgesmith.quantize.parameters import Wide
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.report.units import nbytes

_WORST = 5


def command(
    model: ModelArgument,
    calibration: CalibrationOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The quantised model. [default: NAME.PRECISION.onnx]")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="; ".join(f"{p.name}: {p.meaning}" for p in PRECISIONS.values()) + ".")
    ] = "int8",
    samples: Annotated[int | None, typer.Option(min=1, help="Use so many samples at most; default: all.")] = None,
    observer: Annotated[
        str, typer.Option(help="How ranges are chosen: min-max, moving-average, percentile, entropy, mse, l3.")
    ] = Settings.observer,
    percentile: Annotated[
        float, typer.Option(help="Share of the elements that 'percentile' keeps.")
    ] = Settings.percentile,
    activations: ActivationsOption = None,
    symmetric: Annotated[
        bool | None,
        typer.Option(
            "--symmetric/--affine",
            help="Whether activations have the middle of the type for 0. [default: affine; in 16 bits symmetric]",
        ),
    ] = None,
    symmetric_weights: Annotated[
        bool, typer.Option("--symmetric-weights/--affine-weights", help="Whether weights have the zero point 0.")
    ] = Settings.symmetric_weights,
    per_channel: Annotated[
        bool, typer.Option("--per-channel/--per-tensor", help="Scales of weights.")
    ] = Settings.per_channel,
    power_of_two: Annotated[bool, typer.Option("--power-of-two", help="Scales are powers of two.")] = False,
    weight_bits: Annotated[
        int,
        typer.Option(
            "--weight-bits", min=1, max=8, help="Bits of weights, stored in 8 in the model; 1: -1 or 1 times a scale."
        ),
    ] = Settings.weight_bits,
    ternary: Annotated[
        bool, typer.Option("--ternary", help="Weights are -1, 0 or 1 times a scale, 0 below 0.7 of their mean size.")
    ] = Settings.ternary,
    block: Annotated[
        int | None,
        typer.Option(
            "--block",
            help="Weights alone, in 4 bits with a scale for each 16, 32, 64, 128 or 256 of a sum: the same as "
            "--precision int4, which takes 64.",
        ),
    ] = None,
    recovery: Annotated[
        str,
        typer.Option(
            "--recovery",
            metavar="METHOD,METHOD",
            help="Regain accuracy, in this order: equalize, wide-values, clip-activations, clip-weights, gptq, "
            "adaround, bias-correction; or none.",
        ),
    ] = ",".join(Settings.recovery),
    wide: Annotated[
        str,
        typer.Option("--wide", help="What wide-values keeps the noisiest values in: f32, or s16 (needs opset 21)."),
    ] = "f32",
    wide_work: Annotated[
        float,
        typer.Option("--wide-work", min=0, max=1, help="Share of the work that wide-values may take out of 8 bits."),
    ] = Settings.wide_work,
    max_accuracy_drop: Annotated[
        float | None,
        typer.Option(
            "--max-accuracy-drop",
            metavar="POINTS",
            help="Keep the fewest layers in floats that lose at most so many points of top-1 accuracy on the "
            "calibration data; without --labels, so many percent of predictions.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="The class of each calibration sample: .npy, .npz, or text, one a line."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="NODE", help="This node stays in floats; repeatable.")
    ] = None,
    only_ops: Annotated[
        str | None, typer.Option("--only-ops", metavar="OP,OP", help="Quantise these operators only: Conv,Gemm.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write all figures to this JSON file.")] = None,
    shape: ShapeOption = None,
    bind: BindOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    size: SizeOption = None,
    fit: FitOption = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    bgr: BgrOption = None,
    layout: LayoutOption = None,
) -> None:
    """Quantise a model after training, from typical inputs, and measure what that costs in accuracy.

    The result is standard ONNX with QuantizeLinear and DequantizeLinear, which 'edgesmith compile' turns into integer
    kernels and ONNX Runtime runs. Pictures are prepared by the options below, as for 'edgesmith run'. An interrupted
    calibration goes on where it was when the same command is given again.

    fp16 and bf16 store weights in 16 bits, which halves the file; arithmetic is in f32, and no calibration is needed.
    int4 stores weights in 4 bits with a scale for each block of a sum; programs keep them so in memory for Gemm and
    MatMul. With --activations bf16 what products read is rounded as well, so that AMX can multiply bf16; with
    --activations fp16 all values that go to memory are, and ARM processors with FEAT_FP16 multiply fp16.

    SQNR is the power of a value over the power of its error, in dB, with all errors before it: 20 dB is an error of
    a tenth, 40 dB of a hundredth.

    \b
    Examples:
      edgesmith quantize model.onnx --calibration photos/ -o model.int8.onnx
      edgesmith quantize model.onnx --calibration photos/ --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
      edgesmith quantize model.onnx --calibration x.npz --observer entropy --samples 200
      edgesmith quantize model.onnx --calibration mydata:batches --report report.json
      edgesmith quantize model.onnx --calibration x.npy --exclude /head/Conv --only-ops Conv,Gemm
      edgesmith quantize model.onnx --calibration photos/ --precision int16x8
      edgesmith quantize model.onnx --calibration photos/ --wide-work 0                  (everything in 8 bits)
      edgesmith quantize model.onnx --precision fp16
      edgesmith quantize model.onnx --weight-bits 4 --block 64
      edgesmith quantize model.onnx --calibration none          (no data: synthetic inputs, less accurate)
    """
    if block is not None:
        if (precision, weight_bits) not in (("int8", 4), ("int4", 4), ("int4", Settings.weight_bits)):
            why = "blocks are for weights of 4 bits and float activations"
            raise BadInput(
                why, where="--block", hint="--weight-bits 4 or --precision int4, and nothing else of the two"
            )
        precision = "int4"
    if calibration is None and (precision not in PRECISIONS or PRECISIONS[precision].is_integer):
        raise BadInput(
            "no calibration data",
            where="quantize",
            hint="--calibration FOLDER, FILE.npz or module:function; 'none' for synthetic inputs",
        )
    settings = Settings(
        precision=precision,
        activations=None if activations is None else element_type(activations, "--activations"),
        observer=observer,
        percentile=percentile,
        symmetric_activations=symmetric,
        symmetric_weights=symmetric_weights,
        per_channel=per_channel,
        power_of_two=power_of_two,
        weight_bits=weight_bits,
        ternary=ternary,
        block=block or Settings.block,
        recovery=tuple(name for name in _names(recovery) if name != "none"),
        wide=element_type(wide, "--wide"),
        wide_work=wide_work,
        max_accuracy_drop=max_accuracy_drop,
        labels=None if labels is None else read_labels(labels),
        exclude=tuple(exclude or ()),
        only=None if only_ops is None else _names(only_ops),
    )
    place = output or Path(f"{Path(model.removeprefix(arguments.ZOO)).stem}.{precision}.onnx")
    start = time.perf_counter()
    with stages() as told:
        found = api.quantize(
            arguments.model(model),
            calibration,
            precision=precision,
            settings=settings,
            output=place,
            shapes=arguments.shapes(shape),
            bindings=arguments.bindings(bind),
            preprocess=preprocessing(None, size, fit, scale, mean, std, bgr, layout),
            samples=samples,
            progress=told,
        )
    figures_found = {**found.report(), "seconds": round(time.perf_counter() - start, 3), "path": str(place)}
    if report:
        write_file(report, (json.dumps(_finite(figures_found), indent=1) + "\n").encode())
    if as_json:
        print_json(_finite(figures_found))
    else:
        _print(found, figures_found)
    for notice in found.notices:
        error_console().print(f"warning: {notice}", style="yellow", markup=False)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _print(found: Quantized, report: Mapping[str, Any]) -> None:
    out = console()
    before, after = report["weights_bytes"]["float"], report["weights_bytes"]["quantized"]
    rows = [
        ("model", report["path"]),
        *_form(found),
        *((_kept_in(found), _wide(value)) for value in found.wide),
        *(("in floats", f"{node}: {why}") for node, why in list(found.floats.items())[:_WORST]),
        *([("budget", _kept(found.choice))] if found.choice else []),
        ("weights", f"{nbytes(before)} -> {nbytes(after)} ({after / max(before, 1):.1%})"),
        *(("output", f"{name}: {_accuracy(name, found)}") for name in found.outputs),
        ("time", f"{report['seconds']:.1f} s"),
    ]
    out.print(figures(rows))
    layers = sorted(report["values"], key=lambda row: row["sqnr_db"])[:_WORST]
    if layers:
        worst = table("Least accurate values", "value|>SQNR dB|>cut off|>scale|>zero")
        for row in layers:
            cells = (_decibels(row["sqnr_db"]), f"{row['cut_share']:.2%}", f"{row['scale']:.4g}", str(row["zero"]))
            worst.add_row(row["name"], *cells)
        out.print(worst)


def _form(found: Quantized) -> list[tuple[str, str]]:
    """What the products are in, and by what data."""
    runs, settings = found.calibration.runs, found.settings
    done = found.products or found.rounded
    of_all = f"{len(done)} of {len(done) + len(found.floats)} Conv, Gemm and MatMul"
    if settings.kind.is_integer:
        return [("calibration", f"{runs} runs, {settings.observer}"), ("integer", of_all)]
    if settings.activation_type is DType.F16:
        return [("in fp16", f"weights of {of_all}, and values in memory; arithmetic in fp16 where the target has it")]
    activations = ", activations rounded to bf16" if settings.activation_type is DType.BF16 else ""
    return [(f"in {settings.precision}", f"weights of {of_all}{activations}; arithmetic in f32")]


def _kept_in(found: Quantized) -> str:
    return "kept in floats" if found.settings.wide.is_float else "kept in 16 bits"


def _wide(value: Wide) -> str:
    return (
        f"{value.value}: in 8 bits, {value.noise:.0%} of the noise at the outputs; it is {value.work:.1%} of the work"
    )


def _accuracy(name: str, found: Quantized) -> str:
    error = found.outputs[name]
    text = f"SQNR {_decibels(error.sqnr_db)} dB"
    if error.agreement is not None:
        text += f"; same class as in floats for {error.agreement:.1%} of {error.rows}"
    return text if found.real else f"{text} (on synthetic inputs)"


def _kept(choice: Choice) -> str:
    return f"{choice.loss:.2f} {choice.what} with {len(choice.floats)} layers in floats, {choice.before:.2f} with none"


def _decibels(number: float) -> str:
    return f"{number:.1f}" if math.isfinite(number) else "exact" if number > 0 else "none"


def _finite(data: Any) -> Any:
    """The data with None for numbers that JSON has no text for."""
    if isinstance(data, Mapping):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
