"""From a graph to an artifact: planned, written as C, compiled, described, compared, packaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from edgesmith import tune as tuning
from edgesmith.codegen import Package, generate, generate_variants
from edgesmith.codegen.selftest import selftest_header, selftest_inputs
from edgesmith.device import Artifact, runnable, runnable_variant
from edgesmith.device.artifact import LOCK, MANIFEST, TIMES, UNHASHED, VERIFICATION, sha256
from edgesmith.device.folder import FAILED, replacing
from edgesmith.device.manifest import describe
from edgesmith.ir import Graph
from edgesmith.packaging import PACKAGES, library_files, pack
from edgesmith.passes import optimize
from edgesmith.passes.quantized_values import Quantization
from edgesmith.pipeline.limits import Limits
from edgesmith.pipeline.planning import compiler_of, planned, targets_of
from edgesmith.pipeline.progress import Progress
from edgesmith.pipeline.source import Arrays
from edgesmith.plan import Plan
from edgesmith.recipe import PARTS, Recipe
from edgesmith.target import Target, baseline_of, runs_here
from edgesmith.toolchain import build
from edgesmith.verify import Accumulated, Verification, accumulate
from edgesmith.verify import verify as compare_layers
from edgesmith.version import __version__

__all__ = ["Making", "write_manifest"]


class Making:
    """A graph with its plans and its C package, on the way to an artifact.

    Args:
        source: what the manifest says about the model that the graph comes from; ``name`` at least.
        quantizations: how integers stand for numbers, of inputs and outputs where that is known.
        original: gives the outputs of that model; None: they are the graph's own in ONNX Runtime.
        roundoff: its unit roundoff where that is coarser than the graph's.
        budget_seconds: most time for measuring, when the recipe says so.

    Raises:
        TargetError, NoKernel, BadInput: the recipe.
        DoesNotFit: more memory is needed than there is.
    """

    def __init__(
        self,
        graph: Graph,
        recipe: Recipe,
        source: Mapping[str, Any],
        *,
        quantizations: Mapping[str, Quantization],
        original: Callable[[Arrays], Arrays] | None,
        roundoff: float,
        budget_seconds: float,
        report: Progress,
    ) -> None:
        self.recipe, self.source, self.report = recipe, source, report
        self.quantizations = quantizations
        self.targets, self.tool = targets_of(recipe), compiler_of(recipe)
        self.feeds = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))
        graph, self.passes = optimize(graph)
        share = budget_seconds / len(self.targets)
        self.plans = {t.variant: planned(graph, t, self.tool, recipe, share, report) for t in self.targets}
        report("reference", 0, 1)
        self.known = {v: self._accumulated(p, roundoff) for v, p in self.plans.items()}
        self.expected = original(self.feeds) if original else next(iter(self.known.values())).outputs
        report("reference", 1, 1)
        self.limits = Limits.of(recipe, self.target)
        self.limits.require(self.plan, self.package, self.plan.tried)

    @property
    def plan(self) -> Plan:
        """That of the best variant."""
        return next(iter(self.plans.values()))

    @property
    def target(self) -> Target:
        """What the program as a whole is compiled for."""
        return baseline_of(self.plan.target) if self.recipe.isas else self.plan.target

    @cached_property
    def package(self) -> Package:
        title = self.source["name"].rsplit(".onnx", 1)[0]
        if self.recipe.isas:
            return generate_variants(self.plans, title, __version__, self.quantizations)
        return generate(self.plan, title, __version__, self.quantizations)

    def write_sources(self, folder: Path) -> None:
        src = folder / "src"
        src.mkdir()
        self.package.write(src)
        (src / "selftest_data.h").write_bytes(self._selftest())
        for variant, plan in self.plans.items():
            (folder / (f"lock.{variant}.json" if self.recipe.isas else LOCK)).write_text(plan.lock.to_json())

    def build(self, folder: Path, *, verify: bool) -> dict[str, Path]:
        """Compile the sources; gives the files by part. The executable is among them where comparing needs it."""
        recipe, target = self.recipe, self.target
        built = build(
            folder / "src",
            folder,
            self.package.name,
            target,
            self.tool,
            variants={variant: self.plans[variant].target for variant in self.package.variants},
            extra=recipe.flags,
            executable="exe" in recipe.emit or (verify and not all(map(runs_here, self.targets))),
            one_piece="shared" not in recipe.emit,
            progress=lambda i, n: self.report("compile", i, n),
        )
        kept = built.keys() & set(recipe.emit)
        for file, data in library_files(folder / "src", self.package.name, recipe.version, target, kept).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        return built

    def describe(self, folder: Path, built: Mapping[str, Path]) -> dict[str, Any]:
        """Write the manifest, and the measured times beside it; raises ``DoesNotFit``."""
        manifest = describe(
            self.plans,
            self.package,
            tolerances={variant: k.tolerances for variant, k in self.known.items()},
            threads=self.recipe.threads,
            model=self.source,
            tools={"edgesmith": __version__, "compiler": f"{self.tool.name} {self.tool.version}"},
            passes=self.passes,
            quantizations=self.quantizations,
        )
        needed = self.limits.measured(self.plan, self.package, built, self.tool)
        for described in manifest.get("variants", {"": manifest}).values():
            described["memory"] |= needed
        manifest["version"] = self.recipe.version
        write_manifest(folder, manifest)
        self._write_data(folder / TIMES, {v: self._times(p) for v, p in self.plans.items()})
        return manifest

    def compare(self, folder: Path, failed: Path) -> None:
        """Compare every variant that runs here, or in an emulator, with ONNX Runtime.

        Args:
            failed: where a program that differs is moved, with the evidence; then ``VerificationFailed`` is raised.
        """
        found = {}
        for variant, plan in self.plans.items():
            if not runnable(plan.target) or (self.recipe.isas and not runnable_variant(plan.target)):
                continue
            found[variant] = compare_layers(
                Artifact(folder, isa=variant if self.recipe.isas else None),
                plan.graph,
                self.feeds,
                expected=self.expected,
                accumulated=self.known[variant],
                progress=lambda i, n: self.report("verify", i, n),
            )
            if not found[variant].ok:
                _keep_evidence(found[variant], folder, failed)
        if found:
            self._write_data(folder / VERIFICATION, {v: result.to_json() for v, result in found.items()})

    def pack(self, folder: Path) -> None:
        """Write the packages that the recipe asks for."""
        forms = [f for f in self.recipe.emit if f not in PARTS]
        if forms:
            self.report("pack", 0, 1)
            pack(Artifact(folder), forms, folder / PACKAGES)
            self.report("pack", 1, 1)

    def _accumulated(self, plan: Plan, roundoff: float) -> Accumulated:
        computed = {s.name: (s.kernel, s.schedule) for s in plan.steps}
        return accumulate(plan.graph, self.feeds, computed=computed, roundoff=roundoff)

    def _selftest(self) -> bytes:
        graph = self.plan.graph
        tolerances = [max(k.tolerances[v] for k in self.known.values()) for v in graph.outputs]
        return selftest_header(
            list(self.feeds.values()), [self.expected[v] for v in graph.outputs], tolerances
        ).encode()

    def _times(self, plan: Plan) -> dict[str, Any]:
        """What was measured of the kernels that the plan considered."""
        if self.recipe.tune == "off":
            return {}
        return tuning.known_times(plan, tuning.recorded(plan.target, self.tool), self.recipe.only)

    def _write_data(self, place: Path, data: dict[str, Any]) -> None:
        """Data of each variant, or of the only one."""
        held = data if self.package.variants else next(iter(data.values()))
        place.write_text(json.dumps(held, indent=1) + "\n")


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """The manifest with the hashes of all files but those that differ from run to run."""
    written = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = {p: sha256(folder / p) for p in written if p not in UNHASHED}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "files": files}, indent=1) + "\n")


def _keep_evidence(result: Verification, folder: Path, failed: Path) -> None:
    with replacing(failed) as kept:
        for part in folder.iterdir():
            part.rename(kept / part.name)
        (kept / MANIFEST).rename(kept / FAILED)
        result.keep(kept)
    result.evidence_path = failed
    result.require()
