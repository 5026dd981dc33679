"""Programs for microcontrollers: bit for bit on emulated boards, clean under sanitizers, within their memory."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgesmith
from edgesmith import api
from edgesmith.cli.choosing import size
from edgesmith.codegen import generate
from edgesmith.codegen.selftest import selftest_header, selftest_inputs
from edgesmith.counting import StepCounts, count_steps
from edgesmith.counting.board import board_instructions
from edgesmith.deploy import attach
from edgesmith.device import Artifact, emulated
from edgesmith.device.board import EmulatedBoard
from edgesmith.errors import ArtifactError, BadInput, CompilerFailed, DoesNotFit, TargetError
from edgesmith.export import to_onnx
from edgesmith.ir import DType, Graph
from edgesmith.kernels import KERNELS
from edgesmith.ops import OPS
from edgesmith.ops.conv import Conv
from edgesmith.passes import optimize
from edgesmith.plan import make_plan
from edgesmith.target import Target, parse, profiles
from edgesmith.toolchain import build, zig
from edgesmith.toolchain.compiler import system
from passes.quantized import QuantizedSketch
from plan.test_patches import window

pytestmark = pytest.mark.toolchain

BOARDS = ("nucleo-l4", "stm32f746", "raspberry-pi-pico")
"""Others take the compiler a long time: its own routines are compiled for each processor."""
ALLOWED = re.compile(r"memcpy|memset|__aeabi_\w+")
"""What a library may need: two functions, and the compiler's own arithmetic."""


@cache
def network() -> Graph:
    """Every kind of integer layer that microcontrollers have kernels for, before the passes."""
    s = QuantizedSketch(kind=DType.I8)
    x = s.activation(1, 3, 13, 11)
    for out, into, kernel, stride, group in ((6, 3, 3, 2, 1), (6, 1, 3, 1, 6), (9, 6, 1, 1, 1), (9, 1, 5, 2, 9)):
        weights = s.weights(out, into, kernel, kernel)
        x = s.add(Conv(window(kernel, stride), group), x, weights, s.bias(x, weights, out))
        x = s.qdq(s.add(OPS["Relu"](), x), 0.1)
    x = s.qdq(s.add(OPS["GlobalAveragePool"](), x), 0.05)
    return s.graph(x)


def model() -> onnx.ModelProto:
    return to_onnx(network())


def needs(target: str) -> None:
    try:
        emulated(parse(target))
    except TargetError as error:
        pytest.skip(str(error).replace("\n", ";"))


CALL = 1000
"""More instructions than the call of an inference takes beside its steps."""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place = tmp_path_factory.mktemp("m4") / "out"
    return edgesmith.compile(model(), target="nucleo-l4", output=place, tune="off", cache=False, name="net")


@pytest.mark.parametrize("device", BOARDS)
def test_integers_are_the_simulators(device: str, tmp_path: Path, artifact: Artifact) -> None:
    needs(device)
    if device != "nucleo-l4":
        artifact = edgesmith.compile(
            model(), target=device, output=tmp_path / "a b", tune="off", cache=False, name="net"
        )
    found = artifact.verification
    assert found is not None and found["ok"] and found["device"].startswith("qemu-system-arm")
    graph = optimize(network())[0]
    feeds = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs], seed=3), strict=True))
    (want,) = (graph.reference(feeds)[v] for v in graph.outputs)
    (got,) = emulated(artifact.target).run(artifact, feeds).values()
    np.testing.assert_array_equal(got, want)
    memory = artifact.manifest["memory"]
    assert memory["prepared_bytes"] == 0
    assert memory["ram_bytes"] < profiles()[device].ram_bytes
    assert memory["weights_bytes"] < memory["flash_bytes"] < 64 << 10
    kernels = {step["kernel"] for step in artifact.manifest["steps"]}
    assert {"integer-tiles", "integer-planes", "integer-mean"} <= kernels


def test_the_self_test_passes_and_sees_other_bits(artifact: Artifact, tmp_path: Path) -> None:
    needs("nucleo-l4")
    board = EmulatedBoard.of(artifact.target)
    assert "selftest passed" in board.selftest(artifact)
    data = bytearray(artifact.executable.read_bytes())
    weights = (artifact.path / "src" / "weights.bin").read_bytes()
    at = data.index(weights[:64])
    data[at : at + 64] = bytes(64)
    changed = tmp_path / "changed"
    changed.write_bytes(data)
    done = board.start(changed, ["--selftest"])
    assert done.returncode == 1 and "selftest FAILED" in done.stdout


def test_wrong_words_and_files(artifact: Artifact, tmp_path: Path) -> None:
    needs("nucleo-l4")
    board = EmulatedBoard.of(artifact.target)
    for words, status in (([], 2), (["--rum"], 2), (["--run", "x"], 2), (["--run", str(tmp_path / "no"), "y"], 3)):
        assert board.start(artifact.executable, words).returncode == status, words


def test_an_artifact_without_a_library_has_the_parts_that_there_are(artifact: Artifact) -> None:
    assert {p.name for p in artifact.path.iterdir() if p.is_file() and p.suffix != ".json"} >= {"net", "libnet.a"}
    with pytest.raises(ArtifactError, match=r"(?s)is for a microcontroller.*libnet\.a into your project") as refused:
        artifact.context()
    assert "--emit" not in str(refused.value)


@pytest.mark.parametrize("address", ["local:", "ssh://nobody@nowhere", "qemu:cortex-m4"])
def test_microcontrollers_are_not_deployed_to(artifact: Artifact, address: str) -> None:
    with pytest.raises(TargetError, match=r"(?s)are not deployed to.*docs/microcontrollers\.md"):
        attach(address, artifact.target).__enter__()


def test_instructions_are_the_same_in_every_run(artifact: Artifact) -> None:
    needs("nucleo-l4")
    counted = board_instructions(artifact)
    assert counted == board_instructions(artifact)
    found = count_steps(artifact)
    assert isinstance(found, StepCounts) and found.instructions == counted and all(found.each)
    assert len(found.each) == len(artifact.manifest["steps"]) and abs(counted - sum(found.each)) < CALL
    assert counted > sum(step["macs"] for step in artifact.manifest["steps"])


def test_libraries_need_memcpy_and_memset_alone(artifact: Artifact, tmp_path: Path) -> None:
    archive, target, tool = artifact.path / f"lib{artifact.name}.a", artifact.target, zig()
    calls = [f"-Wl,-u,net_{name}" for name in ("init", "prepare", "run", "run_steps", "value", "step")]
    options = ["-nostdlib", "-Wl,-e,net_run", *calls, str(archive), "-o", "program"]
    with pytest.raises(CompilerFailed) as failure:
        tool.run([*tool.flags(target), *options], cwd=tmp_path)
    missing = set(re.findall(r"undefined symbol: (\S+)", str(failure.value)))
    assert missing and all(ALLOWED.fullmatch(name) for name in missing), missing


def test_static_contexts_have_the_size_that_programs_ask_for(artifact: Artifact) -> None:
    header = (artifact.path / "src" / "net.h").read_text()
    pointers, rest = map(int, re.findall(r"NET_CONTEXT_BYTES \(\((\d+) \* sizeof.*/ 64 \* 64 \+ (\d+)\)", header)[0])
    assert artifact.manifest["memory"]["ram_bytes"] == -(-4 * pointers // 64) * 64 + rest + 3 * 13 * 11 * 4 + 9 * 4


def test_what_is_compiled_here_is_clean_under_sanitizers(tmp_path: Path) -> None:
    """The kernels for one lane, in plain C."""
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Werror")
    if subprocess.run(
        ["gcc", *flags, "-x", "c", "-", "-o", "/dev/null"], input=b"int main(void){return 0;}"
    ).returncode:
        pytest.skip("gcc has no sanitizers here")
    target = Target(parse("native").triple, ("armv6m",))
    others = [name for name in KERNELS if name not in ("integer-depthwise", "portable")]
    plan = make_plan(optimize(network())[0], target, only=others)
    assert {"integer-tiles", "integer-planes", "integer-mean"} <= {s.kernel.name for s in plan.steps}
    graph = plan.graph
    inputs = selftest_inputs([graph.type(v) for v in graph.inputs])
    reference = graph.reference(dict(zip(graph.inputs, inputs, strict=True)))
    source = tmp_path / "src"
    source.mkdir()
    generate(plan, "net", "0").write(source)
    outputs = [reference[v] for v in graph.outputs]
    (source / "selftest_data.h").write_text(selftest_header(inputs, outputs, [0.0] * len(outputs)))
    built = build(source, tmp_path, "net", target, system("gcc"), extra=flags)
    program = built.get("exe") or built["executable"]
    done = subprocess.run([program, "--selftest"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    options = {"target": "nucleo-l4", "output": tmp_path / "out", "tune": "off", "cache": False, "verify": False}
    with pytest.raises(DoesNotFit) as ram:
        edgesmith.compile(model(), max_ram=2000, **options)
    assert "bytes of RAM" in ram.value.why and "--max-ram" in ram.value.why and "ConvInteger" in ram.value.why
    assert "x0 1716" in ram.value.why and "tried: whole images" in ram.value.why and "smaller input" in ram.value.hint
    with pytest.raises(DoesNotFit, match="--max-flash is 1024") as flash:
        edgesmith.compile(model(), max_flash=1024, **options)
    assert "bytes of weights" in flash.value.why and "for the weights alone" in flash.value.why
    assert not (tmp_path / "out").exists()
    with pytest.raises(DoesNotFit, match="--max-flash is 500"):
        edgesmith.compile(model(), max_flash=500, **{**options, "target": "native"})


def test_patches_survive_verification_and_the_artifact(tmp_path: Path, artifact: Artifact) -> None:
    limit = artifact.manifest["memory"]["ram_bytes"] - 100
    small = edgesmith.compile(
        model(), target="nucleo-l4", output=tmp_path / "out", tune="off", cache=False, max_ram=limit, name="net"
    )
    assert small.patching is not None and small.manifest["memory"]["ram_bytes"] <= limit
    needs("nucleo-l4")
    assert small.verification and small.verification["ok"]
    assert api.verify(small, model(), seed=7).ok


def test_sizes_as_people_write_them() -> None:
    assert [size(t, "--max-ram") for t in ("320k", "1M", "4096", "1.5 KiB", None)] == [327680, 1048576, 4096, 1536, 0]
    for text in ("much", "0", "-3k", "3 T", ""):
        with pytest.raises(BadInput, match="--max-ram"):
            size(text, "--max-ram")


def test_libraries_of_microcontrollers_are_not_loaded_here(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError):
        artifact(np.zeros((1, 3, 13, 11), np.float32))
