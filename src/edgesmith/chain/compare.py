"""The outcome beside the stock smaller model: same family, as fast, trained as long."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgesmith.chain.budget import Budget
from edgesmith.chain.learning import Learning, Taught
from edgesmith.chain.measuring import quantised_stand_in
from edgesmith.chain.models import built
from edgesmith.chain.recipe import Compare, ModelSpec, OptimizeRecipe
from edgesmith.chain.run import Chain, Point
from edgesmith.chain.stage import STAGES, Stage
from edgesmith.report.units import in_ms

__all__ = ["Stock", "stock"]

FLOAT = "f32"


@dataclass(frozen=True)
class Stock:
    """A stock model, trained and quantised.

    Args:
        epochs: passes over the training pictures that it took.
    """

    spec: ModelSpec
    point: Point
    epochs: float


def stock(chain: Chain, points: list[Point]) -> Stock | None:
    """The stock model whose measured time is nearest to the outcome's, trained; None where the recipe names none.

    It gets as many epochs as all stages of the recipe together, then the same quantisation.
    """
    if not chain.recipe.stock_models:
        return None
    recipe = replace(chain.recipe, stages=tuple(stage for stage, _ in points[-1].shapes))
    specs = recipe.stock_models
    times = _times(chain, recipe, points[-1])
    spec = min(specs, key=lambda s: abs(math.log(times[s.label] / times[""])))
    chain.say(f"stock: {spec.label} is nearest, {in_ms(times[spec.label])} beside {in_ms(times[''])}")
    own = replace(
        recipe,
        name=f"{recipe.name}: {spec.label}",
        output=recipe.output / "compare" / _slug(spec.label),
        model=spec,
        budget=Budget(),
        stages=_stages(recipe, round(sum(p.epochs for p in points))),
        compare=Compare(),
    )
    other = Chain(own, chain.progress, _indented(chain.say), chain.shown, chain.device)
    made = other.run()
    return Stock(spec, made[-1], sum(p.epochs for p in made))


def _times(chain: Chain, recipe: OptimizeRecipe, final: Point) -> Mapping[str, float]:
    """Milliseconds of untrained candidates, as they will be at the end, in turns with the outcome.

    Args:
        recipe: with the stages that were not left out.
    """
    specs = recipe.stock_models
    assert final.program is not None
    with tempfile.TemporaryDirectory(prefix="edgesmith-stock-") as name:
        programs = {"": (final.program, final.onnx)}
        for i, spec in enumerate(specs):
            module = built(spec, recipe.path, chain.data.classes, chain.data.size, recipe.seed)
            path = Path(name) / f"{i}.onnx"
            _export(chain, module, path)
            if recipe.precision != FLOAT:
                last = next(s for s in reversed(recipe.stages) if s.precision)
                place = Path(name) / f"{i}-quantised"
                place.mkdir()
                path = path.rename(place / path.name)
                path = last.preview(path, chain.work(place)) or quantised_stand_in(path, recipe.precision)
            programs[spec.label] = (chain.bench.compiled(path, Path(name) / str(i)), path)
            chain.progress("stock models", i + 1, len(specs))
        recipe.output.mkdir(parents=True, exist_ok=True)
        return chain.bench.kept_times(recipe.output / "stock-times.json", programs).milliseconds


def _export(chain: Chain, module: Any, path: Path) -> None:
    from edgesmith.frontend.torch import export

    export(module, chain.data.example, path, traced=True)


def _stages(recipe: OptimizeRecipe, epochs: int) -> tuple[Stage, ...]:
    """Training of the same length, and what makes the outcome's precision."""
    last = [s for s in recipe.stages if s.gives_onnx]
    learned = next((s for s in recipe.stages if isinstance(s, Learning) and s.method in ("train", "distil")), None)
    rest = (recipe.compare.epochs or epochs) - sum(s.planned_epochs for s in last)
    own = {f.name: getattr(learned, f.name) for f in fields(Learning)} if learned else {}
    first = STAGES["train"](**{**own, "epochs": rest, "if_needed": False})
    kept = [replace(s, if_needed=False, **({"teacher": ""} if isinstance(s, Taught) else {})) for s in last]
    return (first, *kept)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.=]+", "-", text.lower()).strip("-")


def _indented(say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: say(f"  {text}")
