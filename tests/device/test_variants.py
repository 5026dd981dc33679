"""Artifacts for several instruction sets, run here and on emulated processors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgesmith import api, knobs
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device import Artifact, Emulator, load
from edgesmith.device.settings import PREPROCESS, keep
from edgesmith.errors import ArtifactError, BadInput, TargetError
from edgesmith.target import parse
from foreign import missing_emulator
from small_networks import residual_network

pytestmark = pytest.mark.toolchain
X86 = "x86_64-linux-gnu"
HERE = parse("native")
SETS = ["sse2", *(["avx2"] if "avx2" in HERE.isas else [])]
MISSING = "avx512vnni"
"""Compiled too, and on many machines not there; where it is, it is one more that runs."""
needs_x86 = pytest.mark.skipif(HERE.triple != X86, reason=f"this machine is {HERE.triple}")
needs_qemu = pytest.mark.skipif(bool(missing_emulator("neon")), reason=missing_emulator("neon"))


@pytest.fixture(scope="module")
def fat(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place = tmp_path_factory.mktemp("fat") / "out"
    return api.compile(residual_network(), target=X86, isas=[*SETS, MISSING], output=place, cache=False, tune="off")


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(knobs.ISA.name, raising=False)
    yield


def outputs(artifact: Artifact) -> np.ndarray:
    """All of them, one after the other, for the same inputs at every call."""
    inputs = dict(zip(artifact.inputs, selftest_inputs(list(artifact.inputs.values()), 3), strict=True))
    computed = artifact(**inputs)
    assert isinstance(computed, dict)
    return np.concatenate([a.reshape(-1) for a in computed.values()])


@needs_x86
def test_every_variant_computes_what_its_own_artifact_does(fat: Artifact, tmp_path: Path) -> None:
    results = {}
    for isa in SETS:
        options = {"cache": False, "tune": "off", "verify": False, "emit": ["shared"]}
        single = api.compile(residual_network(), target=f"{X86}+{isa}", output=tmp_path / isa, **options)
        forced = load(fat.path, isa=isa)
        results[isa] = outputs(forced)
        np.testing.assert_array_equal(results[isa], outputs(single))
        assert [s["kernel"] for s in forced.manifest["steps"]] == [s["kernel"] for s in single.manifest["steps"]]
        assert forced.program.steps == single.program.steps
        assert forced.program.context_bytes() == single.program.context_bytes() + 64
    assert not np.array_equal(results["sse2"], results[SETS[-1]]), "sums of other lanes end in other bits"


@needs_x86
def test_the_best_variant_is_used(fat: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    best = next(v for v in fat.variants if v in HERE.isas)
    assert fat.variants[0] == MISSING and load(fat.path).variant == best
    done = subprocess.run([fat.executable, "--info"], capture_output=True, text=True, check=True)
    assert f"\nvariant {best}\n" in done.stdout
    monkeypatch.setenv(knobs.ISA.name, "sse2")
    other = load(fat.path)
    assert other.variant == "sse2" and other.manifest["isas"] == ["sse2"]
    done = subprocess.run([fat.executable, "--selftest", "--isa", "sse2"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("variant sse2\n") and "selftest passed" in done.stdout


@needs_x86
def test_choices_of_two_artifacts_do_not_meet(fat: Artifact) -> None:
    """Each has a library of its own, though the file is the same."""
    first, second = load(fat.path, isa="sse2"), load(fat.path, isa=SETS[-1])
    before = outputs(first)
    assert not np.array_equal(outputs(second), before)
    first.context()
    np.testing.assert_array_equal(outputs(first), before)


@needs_x86
def test_what_was_found_is_kept_by_variant(fat: Artifact) -> None:
    found = json.loads((fat.path / "verification.json").read_text())
    assert set(found) >= set(SETS) and (MISSING in found) == (MISSING in HERE.isas)
    for isa in SETS:
        one = load(fat.path, isa=isa)
        assert one.verification and one.verification["ok"] and one.verification["layers"]
        assert api.verify(one, residual_network(), seed=5).ok
    stored = json.loads((fat.path / "manifest.json").read_text())
    assert "steps" not in stored and set(stored["variants"]) == {*SETS, MISSING}
    shares = [v["memory"]["weights_bytes"] for v in stored["variants"].values()]
    assert max(shares) <= stored["weights_bytes"] < sum(shares)
    keep(fat.path, PREPROCESS, None)
    assert set(json.loads((fat.path / "manifest.json").read_text())) == set(stored)
    fat.check()


@needs_x86
def test_what_cannot_be_used(fat: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="was not compiled for 'neon', but for avx512vnni"):
        load(fat.path, isa="neon")
    if MISSING not in HERE.isas:
        with pytest.raises(ArtifactError, match=f"needs .*{MISSING}"):
            load(fat.path, isa=MISSING).program  # noqa: B018
        with pytest.raises(TargetError, match="QEMU emulates no processor"):
            Emulator.of(load(fat.path, isa=MISSING).target)
    for words, said in (([MISSING], "does not run it"), (["sse9"], "has the variants avx512vnni")):
        if words[0] in HERE.isas:
            continue
        done = subprocess.run([fat.executable, "--info", "--isa", *words], capture_output=True, text=True)
        assert done.returncode in (2, 5) and said in done.stderr
    monkeypatch.setenv(knobs.ISA.name, "sse9")
    with pytest.raises(BadInput, match="'sse9'"):
        load(fat.path)


@needs_x86
@pytest.mark.parametrize("flags", [(), ("-fsanitize=thread",)], ids=["plain", "tsan"])
def test_threads_may_make_the_first_call_at_once(fat: Artifact, flags: tuple[str, ...], tmp_path: Path) -> None:
    """The dispatcher alone is compiled for the sanitizer: all that threads share is in it."""
    driver = Path(__file__).parents[1] / "toolchain" / "first_call.c"
    source, archive = fat.path / "src", fat.path / f"lib{fat.name}.a"
    files = [str(driver), str(source / f"{fat.name}.c")]
    strict = ["-std=gnu99", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{source}"]
    command = ["gcc", *strict, *flags, *files, str(archive), "-o", str(tmp_path / "driver"), "-lm", "-pthread"]
    subprocess.run(command, check=True)
    for _ in range(10):
        done = subprocess.run([tmp_path / "driver"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{load(fat.path).variant}\n", "")


def test_locks_and_automatic_precision_are_for_one_set(fat: Artifact, tmp_path: Path) -> None:
    lock = fat.path / "lock.sse2.json"
    with pytest.raises(BadInput, match="one instruction set"):
        api.compile(residual_network(), target=X86, isas=["sse2"], lock=lock, output=tmp_path / "out")
    with pytest.raises(BadInput, match="one instruction set"):
        api.compile(residual_network(), target=X86, isas=["sse2"], precision="auto", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_qemu
def test_processors_of_arm_pick_what_they_have(tmp_path: Path) -> None:
    """And whatever they have not, they refuse to run."""
    artifact = api.compile(
        residual_network(),
        target="aarch64-linux-gnu",
        isas=["neon", "dotprod", "i8mm"],
        output=tmp_path / "out",
        cache=False,
        tune="off",
    )
    found = json.loads((artifact.path / "verification.json").read_text())
    assert {isa: (one["ok"], one["device"]) for isa, one in found.items()} == {
        "i8mm": (True, "qemu-aarch64 (max)"),
        "dotprod": (True, "qemu-aarch64 (cortex-a76)"),
        "neon": (True, "qemu-aarch64 (cortex-a72)"),
    }
    emulator = Emulator.of(artifact.target)
    for cpu, best, beyond in (
        ("cortex-a72", "neon", "dotprod"),
        ("cortex-a76", "dotprod", "i8mm"),
        ("max", "i8mm", ""),
    ):
        device = emulator.with_cpu(cpu)
        done = device.start(artifact.executable.absolute(), ["--selftest"])
        assert done.returncode == 0 and done.stdout.startswith(f"variant {best}\n"), done.stdout + done.stderr
        if beyond:
            refused = device.start(artifact.executable.absolute(), ["--selftest", "--isa", beyond])
            assert refused.returncode == 5 and "does not run it" in refused.stderr
        # Nobody asks for a variant: it is the program that knows what its processor has.
        assert not artifact.words and device.chosen(artifact).variant == best
        assert device.chosen(load(artifact.path, isa="neon")).variant == "neon"


@needs_qemu
def test_what_a_device_picks_is_what_is_compared(tmp_path: Path) -> None:
    options = {"target": "aarch64-linux-gnu", "isas": ["neon", "dotprod"], "tune": "off"}
    artifact = api.compile(residual_network(), output=tmp_path / "out", cache=False, verify=False, **options)
    device = Emulator.of(artifact.target).with_cpu("cortex-a72")
    assert artifact.variant == "dotprod" and api.verify(artifact, residual_network(), device=device).ok
    assert "selftest passed" in device.selftest(artifact)
    inputs = dict(zip(artifact.inputs, selftest_inputs(list(artifact.inputs.values()), 3), strict=True))
    wanted = device.run(load(artifact.path, isa="neon"), inputs)
    for name, array in device.run(artifact, inputs).items():
        np.testing.assert_array_equal(array, wanted[name])
