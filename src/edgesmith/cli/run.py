"""``edgesmith run``: inference on pictures or arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from edgesmith.atomic import replacing_file
from edgesmith.cli.arguments import ArtifactArgument, refuse_unused
from edgesmith.cli.console import console, table
from edgesmith.cli.devices import OnOption, attached
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
from edgesmith.device import Artifact, load
from edgesmith.device.session import Session
from edgesmith.device.settings import PREPROCESS, keep
from edgesmith.errors import BadInput
from edgesmith.preprocess import Preprocess, load_arrays, load_input
from edgesmith.report.units import duration

Arrays = dict[str, np.ndarray]


def command(
    context: typer.Context,
    artifact: ArtifactArgument,
    given: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", metavar="[NAME=]FILE", help="A picture, .npy or .npz; may be repeated."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the outputs to this .npz.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Names of the classes, one a line: prints the best ones.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to print.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: as compiled.")] = None,
    on: OnOption = "",
    save: Annotated[bool, typer.Option("--save", help="Keep the picture options below in the artifact.")] = False,
    size: SizeOption = None,
    fit: FitOption = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    bgr: BgrOption = None,
    layout: LayoutOption = None,
) -> None:
    """Run a compiled model on pictures or arrays.

    A model with one input runs once for each file. A model with several inputs takes one file for each, in its order
    or as NAME=FILE, or one .npz with all of them.

    Pictures are cut to the model's size and become (pixel * scale - mean) / std; without options pixels go from 0 to 1.
    What '--save' or 'edgesmith compile' kept is used where an option is not given.

    \b
    Examples:
      edgesmith run out/ --input photo.jpg --labels imagenet.txt
      edgesmith run out/ -i a.jpg -i b.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --save
      edgesmith run out/ -i photo.jpg --scale 1 --mean 104,117,123 --bgr        (Caffe's convention)
      edgesmith run out/ -i x.npy -o y.npz
      edgesmith run out/ -i x.npy -o y.npz --on ssh://pi@raspberrypi
      edgesmith run out/ -i tokens=t.npy -i mask=m.npy
    """
    if labels is None:
        refuse_unused(context, ["top"], "without --labels")
    program = load(artifact, threads)
    kept = program.manifest.get(PREPROCESS)
    kept = Preprocess.from_json(kept) if kept else None
    picture = preprocessing(kept, size, fit, scale, mean, std, bgr, layout) or Preprocess()
    if not given:
        wanted = ", ".join(f"{name}: {type}" for name, type in program.inputs.items())
        raise BadInput(f"no input; the program takes {wanted}", where="run", hint="--input photo.jpg or --input x.npy")
    names = _class_names(labels) if labels else None
    collected: list[tuple[str, Arrays]] = []
    with _runner(program, on) as run:
        for label, arrays in _runs(program, given, picture):
            outputs, elapsed_ns = run(arrays)
            collected.append((label, outputs))
            _print(label, outputs, elapsed_ns, names, top)
    if output:
        _write(output, collected)
        console().print(f"written: {output}")
    if save:
        keep(artifact, PREPROCESS, picture.to_json())


@contextmanager
def _runner(program: Artifact, address: str) -> Iterator[Callable[[Arrays], tuple[Arrays, int | None]]]:
    """What gives the outputs for some inputs, and the nanoseconds of the second run: the first pays for page faults.

    Emulators give no times.
    """

    def here(arrays: Arrays) -> tuple[Arrays, int | None]:
        program(**arrays)
        start = time.perf_counter_ns()
        result = program(**arrays)
        elapsed_ns = time.perf_counter_ns() - start
        return result if isinstance(result, dict) else {next(iter(program.outputs)): result}, elapsed_ns

    def there(instance: Session, tells_time: bool, arrays: Arrays) -> tuple[Arrays, int | None]:
        instance.bind(list(program.checked(arrays).values()))
        steps = len(instance.description.steps)
        instance.run_steps(0, steps)
        elapsed_ns = instance.run_ns(0, steps) if tells_time else None
        return dict(zip(program.outputs, instance.outputs(), strict=True)), elapsed_ns

    with attached(address, program) as (device, running):
        if device is None:
            yield here
        else:
            with device.open(running, running.threads) as instance:
                yield partial(there, instance, device.transport.tells_time)


def _runs(program: Artifact, given: Sequence[str], picture: Preprocess) -> Iterator[tuple[str, Arrays]]:
    """A label and the inputs of each run."""
    named: dict[str, Path] = {}
    files: list[Path] = []
    for text in given:
        name, separator, file = text.partition("=")
        if separator and name in program.inputs:
            named[name] = Path(file)
        else:
            files.append(Path(text))
    if len(program.inputs) == 1 and not named:
        (name, type), *_ = program.inputs.items()
        for path in files:
            loaded = load_arrays(path) if path.suffix == ".npz" else None
            if isinstance(loaded, dict):
                yield str(path), loaded
            else:
                yield str(path), {name: load_input(path, type, picture)}
        return
    if len(files) == 1 and not named and files[0].suffix == ".npz":
        loaded = load_arrays(files[0])
        assert isinstance(loaded, dict)
        yield str(files[0]), loaded
        return
    free = [name for name in program.inputs if name not in named]
    if len(files) > len(free):
        raise BadInput(f"{len(files)} files for {len(free)} inputs ({', '.join(free)})", where="--input")
    named |= dict(zip(free, files, strict=False))
    arrays = {name: load_input(file, program.inputs[name], picture) for name, file in named.items()}
    yield ", ".join(str(file) for file in named.values()), arrays


def _class_names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BadInput(f"is no text: {error}", where=str(path)) from error
    if not names:
        raise BadInput("holds no names", where=str(path), hint="one class a line")
    return names


def _print(label: str, outputs: Arrays, elapsed_ns: int | None, names: list[str] | None, top: int) -> None:
    out = console()
    out.print(label if elapsed_ns is None else f"{label}  ({duration(elapsed_ns)})", markup=False)
    for name, values in outputs.items():
        if names is not None and values.size in (len(names), len(names) + 1):
            out.print(_best(name, values.reshape(-1), names, top))
        elif names is not None and len(outputs) == 1:
            raise BadInput(f"{len(names)} names for {values.size} values of {name}", where="--labels")
        else:
            out.print(_figures(name, values), markup=False)


def _best(output: str, values: np.ndarray, names: list[str], top: int) -> object:
    """The classes with the highest values; a network with one output more than names has a background class 0."""
    shift = values.size - len(names)
    scores, heading = _probabilities(values)
    shown = table("", f">class|label|>{heading}")
    for index in np.argsort(-scores, kind="stable")[:top]:
        label = names[index - shift] if index >= shift else "(background)"
        shown.add_row(str(index), label, f"{scores[index]:.2%}")
    return shown


def _probabilities(values: np.ndarray) -> tuple[np.ndarray, str]:
    wide = values.astype(np.float64)
    if wide.min() >= 0 and abs(wide.sum() - 1) < 1e-3:
        return wide, "probability"
    shares = np.exp(wide - wide.max())
    return shares / shares.sum(), "softmax"


def _figures(name: str, values: np.ndarray) -> str:
    text = f"  {name}: {values.dtype}{list(values.shape)}"
    if not values.size:
        return text
    wide = values.astype(np.float64)
    first = ", ".join(f"{v:.6g}" for v in wide.reshape(-1)[:6]) + (", ..." if values.size > 6 else "")
    return f"{text}  min {wide.min():.6g}, max {wide.max():.6g}, mean {wide.mean():.6g}  [{first}]"


def _write(path: Path, collected: Sequence[tuple[str, Arrays]]) -> None:
    """One ``.npz``: each output by its name; with several runs, stacked along a new first axis."""
    names = collected[0][1]
    stacked = {n: np.stack([o[n] for _, o in collected]) if len(collected) > 1 else collected[0][1][n] for n in names}
    with replacing_file(path) as file:
        np.savez(file, allow_pickle=False, **stacked)
