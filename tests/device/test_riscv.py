"""Programs for RISC-V: vectors of a fixed width on registers of any length."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgesmith import api
from edgesmith.codegen.selftest import selftest_inputs
from edgesmith.device import Artifact, Emulator
from edgesmith.frontend.onnx import read
from edgesmith.passes import optimize
from edgesmith.verify import wrong_integers
from edgesmith.zoo import build
from foreign import missing_emulator
from small_networks import residual_network, two_inputs

pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(bool(missing_emulator("rvv128")), reason=missing_emulator("rvv128")),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place = tmp_path_factory.mktemp("riscv") / "out"
    return api.compile(residual_network(), target="riscv64-linux-gnu+rvv128", output=place, tune="off", cache=False)


def test_layers_agree(program: Artifact) -> None:
    found = program.verification
    assert found is not None and found["ok"] and found["layers"]
    assert found["device"].startswith("qemu-riscv64 (rv64,v=true,vlen=128")


@pytest.mark.parametrize("bits", [256, 1024])
def test_longer_registers_do_not_matter(program: Artifact, bits: int) -> None:
    emulator = Emulator.of(program.target)
    longer = replace(emulator, cpu=emulator.cpu.replace("vlen=128", f"vlen={bits}"))
    assert longer != emulator and "selftest passed" in longer.selftest(program)


def test_products_take_their_factor_from_a_scalar_register(program: Artifact) -> None:
    """``vfmacc.vf`` with any registers: opcode OP-V, funct3 OPFVF, funct6 101100, not masked."""
    code = program.library.read_bytes()
    words = (int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code) - 3, 2))
    assert sum(word & 0xFE00707F == 0xB2005057 for word in words) > 50


def test_without_vectors(tmp_path: Path) -> None:
    artifact = api.compile(residual_network(), target="visionfive-2", output=tmp_path / "out", tune="off", cache=False)
    found = artifact.verification
    assert artifact.manifest["isas"] == [] and found is not None and found["ok"]


def test_processors_pick_what_their_registers_hold(tmp_path: Path) -> None:
    artifact = api.compile(
        two_inputs(),
        target="riscv64-linux-gnu",
        isas=["portable", "rvv128", "rvv256"],
        output=tmp_path / "out",
        cache=False,
        tune="off",
    )
    found = json.loads((artifact.path / "verification.json").read_text())
    assert {isa: one["ok"] for isa, one in found.items()} == {"rvv256": True, "rvv128": True, "portable": True}
    device = Emulator.of(artifact.target)
    for vectors, best, beyond in (
        ("v=false", "portable", "rvv128"),
        ("v=true,vlen=128,vext_spec=v1.0", "rvv128", "rvv256"),
        ("v=true,vlen=512,vext_spec=v1.0", "rvv256", ""),
    ):
        device = replace(device, cpu=f"rv64,{vectors}")
        done = device.start(artifact.executable.absolute(), ["--selftest"])
        assert done.returncode == 0 and done.stdout.startswith(f"variant {best}\n"), done.stdout + done.stderr
        if beyond:
            refused = device.start(artifact.executable.absolute(), ["--selftest", "--isa", beyond])
            assert refused.returncode == 5 and "does not run it" in refused.stderr


def test_integers_are_the_simulators(tmp_path: Path) -> None:
    model = api.quantize(build("lenet-5"), "none", samples=1).model
    target, place = "riscv64-linux-gnu+rvv128", tmp_path / "out"
    artifact = api.compile(model, target=target, output=place, tune="off", verify=False, cache=False, name="net")
    graph, _ = optimize(read(model))
    feeds = dict(zip(graph.inputs, selftest_inputs([graph.type(v) for v in graph.inputs]), strict=True))
    with Emulator.of(artifact.target).open(artifact) as instance:
        wrong, compared = wrong_integers(artifact, graph, feeds, instance)
    assert compared > 1000 and not wrong
