"""Handwritten digits with a native program: pictures, predictions and accuracy, next to ONNX Runtime's.

Usage::

    python examples/digits/demo.py
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.columns import Columns
from rich.console import Console, Group
from rich.text import Text
from sklearn.datasets import load_digits

import edgesmith
from edgesmith.bench.timing import interleaved, timer
from edgesmith.cli.progress import stages
from edgesmith.oracle import Oracle
from edgesmith.report.units import duration, nbytes

HERE = Path(__file__).parent
MODEL, HELD_OUT = HERE / "digits.onnx", HERE / "held_out.json"
OUTPUT = HERE.parents[1] / "out" / "demo"
SHADES = " .:-=+*#%@"
SHEET_COLUMNS, PIXEL, CAPTION, GAP = 24, 6, 18, 8
RIGHT, WRONG, FRAME = (40, 130, 60), (200, 30, 30), (210, 210, 210)


@dataclass(frozen=True)
class Results:
    """Held-out images (n, 8, 8) in [0, 1] with their labels and what the two runtimes see in them."""

    images: np.ndarray
    labels: np.ndarray
    ours: np.ndarray
    reference: np.ndarray
    largest_difference: float

    def accuracy(self, predictions: np.ndarray) -> str:
        right = int((predictions == self.labels).sum())
        return f"{right / len(self.labels):.2%} ({right} of {len(self.labels)})"


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8) in [0, 1] and labels that took no part in training."""
    digits = load_digits()
    chosen = np.array(json.loads(HELD_OUT.read_text(encoding="utf-8")))
    return (digits.images[chosen] / 16).astype(np.float32), digits.target[chosen]


def classify(artifact: edgesmith.Artifact) -> Results:
    """Run the native program and ONNX Runtime on every held-out image."""
    images, labels = held_out()
    oracle = Oracle(str(MODEL))
    ours, reference, largest = [], [], 0.0
    for image in images:
        x = image[None, None]
        mine, theirs = artifact(x), oracle.run({"image": x})["logits"]
        largest = max(largest, float(np.abs(mine - theirs).max()))
        ours.append(int(np.argmax(mine)))
        reference.append(int(np.argmax(theirs)))
    return Results(images, labels, np.array(ours), np.array(reference), largest)


def picture(image: np.ndarray, colour: bool) -> Text:
    """An image as text: two pixels a character with half blocks, or shades where there is no colour."""
    text = Text()
    if not colour:
        for row in image:
            text.append("".join(SHADES[round(float(p) * (len(SHADES) - 1))] * 2 for p in row) + "\n")
        return text
    grey = np.rint(image * 255).astype(int)
    for top, bottom in zip(grey[::2], grey[1::2], strict=True):
        for upper, lower in zip(top, bottom, strict=True):
            text.append("▀", style=f"rgb({upper},{upper},{upper}) on rgb({lower},{lower},{lower})")
        text.append("\n")
    return text


def gallery(results: Results, console: Console, count: int = 14) -> Columns:
    """One picture of each digit with its prediction, then those that it gets wrong."""
    wrong = [int(i) for i in np.flatnonzero(results.ours != results.labels)]
    first = [int(np.flatnonzero(results.labels == digit)[0]) for digit in range(10)]
    shown = list(dict.fromkeys([*first, *wrong]))[:count]
    cells = []
    for i in shown:
        prediction, label = results.ours[i], results.labels[i]
        right = prediction == label
        caption = f"{prediction} ✓" if right else f"{prediction} ✗ is {label}"
        cells.append(
            Group(
                picture(results.images[i], console.is_terminal), Text(caption, style="green" if right else "bold red")
            )
        )
    return Columns(cells, padding=(0, 3))


def contact_sheet(results: Results, path: Path) -> None:
    """All images with the predicted digit below; where it is wrong, in red with the label."""
    side = 8 * PIXEL
    columns, rows = SHEET_COLUMNS, -(-len(results.labels) // SHEET_COLUMNS)
    width, height = side + GAP, side + CAPTION + GAP
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for i, image in enumerate(results.images):
        x, y = GAP + i % columns * width, GAP + i // columns * height
        tile = Image.fromarray(255 - np.rint(image * 255).astype(np.uint8)).resize(
            (side, side), Image.Resampling.NEAREST
        )
        right = results.ours[i] == results.labels[i]
        sheet.paste(tile.convert("RGB"), (x, y))
        draw.rectangle(
            (x - 1, y - 1, x + side, y + side), outline=(210, 210, 210) if right else WRONG, width=1 + (not right)
        )
        text = str(results.ours[i]) if right else f"{results.ours[i]} not {results.labels[i]}"
        draw.text((x + side / 2, y + side + 2), text, fill=RIGHT if right else WRONG, font=font, anchor="ma")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def times(artifact: edgesmith.Artifact) -> tuple[float, float]:
    """Median nanoseconds of one image, called from Python: ours and ONNX Runtime's, in interleaved rounds."""
    x = held_out()[0][0][None, None]
    oracle = Oracle(str(MODEL))
    taken = interleaved(
        {"ours": timer(lambda: artifact(x)), "theirs": timer(lambda: oracle.run({"image": x}))}, rounds=5
    )
    return taken["ours"].median, taken["theirs"].median


def main() -> None:
    console = Console()
    console.rule("[bold]Handwritten digits[/bold]")
    console.print("A CNN that this project trained, on the 360 images that training never saw.\n")
    with stages() as progress:
        artifact = edgesmith.compile(MODEL, output=OUTPUT / "digits", name="digits", progress=progress)
    results = classify(artifact)
    console.print(gallery(results, console))
    sheet = OUTPUT / "digits.png"
    contact_sheet(results, sheet)
    ours, theirs = times(artifact)
    same = int((results.ours == results.reference).sum())
    rows = (
        ("accuracy, native program", results.accuracy(results.ours)),
        ("accuracy, ONNX Runtime", results.accuracy(results.reference)),
        ("same prediction", f"{same} of {len(results.labels)}; largest difference {results.largest_difference:.1e}"),
        ("one image", f"{duration(ours)}; ONNX Runtime {duration(theirs)} (both called from Python)"),
        ("program", f"{artifact.library}, {nbytes(artifact.library.stat().st_size)}, weights included"),
        ("all pictures", str(sheet)),
    )
    for what, value in rows:
        console.print(f"  [cyan]{what:26}[/cyan]{value}", highlight=False, soft_wrap=True)
    if same != len(results.labels):
        console.print("[bold red]the native program and ONNX Runtime disagree[/bold red]")
        sys.exit(1)


if __name__ == "__main__":
    main()
