"""C packages: bytes, names, weights, and what compilers and linkers say."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesmith.codegen import Package, generate
from edgesmith.codegen.package import c_identifier
from edgesmith.codegen.weights import Weights
from edgesmith.device.local import Context, Program
from edgesmith.frontend.limits import MAX_IR_VERSION, TARGET_OPSET
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.ir import DType
from edgesmith.kernels import KERNELS
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.plan import Plan, make_plan
from edgesmith.target import parse
from edgesmith.toolchain import Compiler, build, zig
from edgesmith.toolchain.compiler import system
from edgesmith.zoo import build as zoo

ODD = 'a"b\\n\n*/ /* ??/ ??= % \\ \té你'
SYMBOL = re.compile(r"es_[a-z0-9]+(_[a-z0-9]+)*__[a-z0-9]+_[a-z0-9_]+")


def model(seed: int = 0, names: Callable[[str], str] = str) -> onnx.ModelProto:
    """Two convolutions with the same weights, a residual and an activation."""
    rng = np.random.default_rng(seed)
    n = names
    weights = {n("w"): rng.standard_normal((8, 8, 3, 3)).astype(np.float32), n("b"): np.ones(8, np.float32)}
    pads = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", [n("x"), n("w"), n("b")], [n("r")], n("first"), **pads),
        helper.make_node("Relu", [n("r")], [n("s")], n("relu")),
        helper.make_node("Conv", [n("s"), n("w"), n("b")], [n("t")], n("second"), **pads),
        helper.make_node("Add", [n("t"), n("s")], [n("y")], n("add")),
    ]
    kinds = [helper.make_tensor_value_info(n(v), TensorProto.FLOAT, [1, 8, 6, 6]) for v in "xy"]
    tensors = [numpy_helper.from_array(a, k) for k, a in weights.items()]
    graph = helper.make_graph(nodes, n("graph"), kinds[:1], kinds[1:], tensors)
    opset = helper.make_opsetid("", TARGET_OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=MAX_IR_VERSION)


ONE_BY_ONE = tuple(name for name in KERNELS if not name.startswith(("winograd", "fft")))
"""Kernels that sum products one by one, whose rounding needs no bound of its own."""


def planned(given: onnx.ModelProto, target: str = "native", only: Sequence[str] = ONE_BY_ONE) -> Plan:
    return make_plan(optimize(bind(given))[0], parse(target), only=only)


def written(package: Package, folder: Path) -> Path:
    source = folder / "src"
    source.mkdir(parents=True)
    package.write(source)
    return source


def compiled(plan: Plan, name: str, folder: Path, compiler: Compiler, *flags: str) -> tuple[Package, dict[str, Path]]:
    package = generate(plan, name, "test")
    extra = ("-O1", "-Werror", *flags)
    source = written(package, folder)
    return package, build(source, folder, package.name, plan.target, compiler, extra=extra, executable=False)


def run(package: Package, made: dict[str, Path], *inputs: np.ndarray) -> list[np.ndarray]:
    program = Program(made["shared"], package.name)
    outputs = [np.zeros(t.shape, t.dtype.numpy) for t in program.outputs.values()]
    Context(program).run(inputs, outputs)
    return outputs


def test_same_model_same_bytes(tmp_path: Path) -> None:
    for i in range(2):
        written(generate(planned(model()), "net", "test"), tmp_path / str(i))
    files = sorted(p.name for p in (tmp_path / "0" / "src").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "1" / "src").iterdir()) and "weights.bin" in files
    for name in files:
        data = (tmp_path / "0" / "src" / name).read_bytes()
        assert data == (tmp_path / "1" / "src" / name).read_bytes()
        assert str(tmp_path).encode() not in data


def test_function_names_follow_the_convention() -> None:
    package = generate(planned(model(names=lambda v: f"{v} {ODD}")), "Ünïcode 1.0", "test")
    assert package.name == "n_code_1_0"
    for function in package.functions:
        assert SYMBOL.fullmatch(function) and f"_{package.name}_" in function


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MobileNet V2.1", "mobilenet_v2_1"),
        ("", "net"),
        ("7up", "net_7up"),
        ("é", "net"),
        *((n, f"net_{n}") for n in ("model", "main", "src", "objects", "weights", "es_abi", "kernels_000", "es")),
        *((n, f"net_{n}") for n in ("include", "lib", "packages", "m", "c", "pthread")),
        ("pthread_mutex", "net_pthread_mutex"),
        ("x" * 90, "x" * 48),
    ],
)
def test_identifiers(text: str, name: str) -> None:
    assert c_identifier(text) == name == c_identifier(name)


def test_weights_are_stored_once(tmp_path: Path) -> None:
    weights = Weights()
    first = np.arange(40, dtype=np.float32)
    others = (first[::-1], first.copy(), first.astype(np.int32), np.zeros(0, np.int8), first.astype(DType.BF16.numpy))
    places = [weights.add(a) for a in (first, *others)]
    assert places[0] == places[2] and len(set(places)) == 5 and all(p % 64 == 0 for p in places)
    weights.write(tmp_path / "w")
    data = (tmp_path / "w").read_bytes()
    assert len(data) == weights.nbytes
    np.testing.assert_array_equal(np.frombuffer(data, np.float32, 40, places[1]), first[::-1])
    np.testing.assert_array_equal(np.frombuffer(data, DType.BF16.numpy, 40, places[5]), first)


@pytest.mark.toolchain
def test_library_is_little_more_than_weights_and_code(tmp_path: Path) -> None:
    plan = planned(model(), only=("direct", "copy"))
    package, made = compiled(plan, "net", tmp_path, system("gcc"))
    size = subprocess.run(["size", "-A", made["shared"]], capture_output=True, text=True, check=True).stdout
    sections = {line.split()[0]: int(line.split()[1]) for line in size.splitlines() if line.startswith(".")}
    # The two convolutions share their packed weights.
    lanes = max(plan.target.lanes, 8)
    assert package.weights.nbytes <= 4 * (8 * 9 + 1) * lanes + 64
    assert sections[".rodata"] <= package.weights.nbytes + 8192
    assert made["shared"].stat().st_size <= package.weights.nbytes + sections[".text"] + 32768


@pytest.mark.toolchain
@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
def test_odd_names_pass_through_strict_compilers(compiler: str, tmp_path: Path) -> None:
    if compiler != "zig" and shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    given = model(names=lambda v: f"{v} {ODD}")
    tool = zig() if compiler == "zig" else system(compiler)
    package, made = compiled(planned(given), "odd", tmp_path, tool, "-std=gnu99", "-trigraphs", "-Wcomment")
    program = Program(made["shared"], package.name)
    assert list(program.inputs) == [f"x {ODD}"] and list(program.outputs) == [f"y {ODD}"]
    x = np.random.default_rng(1).standard_normal((1, 8, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(
        run(package, made, x)[0], Oracle(given).run({f"x {ODD}": x})[f"y {ODD}"], rtol=0, atol=1e-4
    )


@pytest.mark.toolchain
def test_only_the_api_is_exported(tmp_path: Path) -> None:
    _, made = compiled(planned(model()), "net", tmp_path, system("gcc"))
    listed = subprocess.run(["nm", "-D", "--defined-only", made["shared"]], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert names and all(n.startswith(("net_", "es_pool_")) for n in names)


TWO_MODELS = """
#include <stdio.h>
#include <stdlib.h>
#include "one.h"
#include "two.h"

#define RUN(m) do { \\
    void *memory = NULL; \\
    const size_t bytes = m##_context_bytes(1); \\
    if (posix_memalign(&memory, ES_ALIGNMENT, bytes)) return 1; \\
    es_context *context = m##_init(memory, bytes, 1, NULL, NULL); \\
    m##_prepare(context); \\
    if (m##_run(context, inputs, outputs)) return 1; \\
    printf("%.9g\\n", (double)y[17]); \\
    free(memory); \\
} while (0)

int main(void) {
    static float x[8 * 36], y[8 * 36];
    const void *inputs[] = {x};
    void *outputs[] = {y};
    for (int i = 0; i < 8 * 36; ++i) x[i] = (float)(i % 7);
    RUN(one);
    RUN(two);
    return 0;
}
"""


@pytest.mark.toolchain
def test_static_libraries_of_two_models_link_into_one_program(tmp_path: Path) -> None:
    """Both models have the same nodes, so every name would clash that does not carry the model's."""
    x = np.array([i % 7 for i in range(8 * 36)], np.float32).reshape(1, 8, 6, 6)
    archives, includes, expected = [], [], []
    for seed, name in enumerate(("one", "two")):
        package, made = compiled(planned(model(seed)), name, tmp_path / name, system("gcc"))
        archives.append(made["static"])
        includes.append(f"-I{tmp_path / name / 'src'}")
        expected.append(run(package, made, x)[0].reshape(-1)[17])
    (tmp_path / "main.c").write_text(TWO_MODELS)
    command = ["gcc", "-Wall", "-Wextra", "-Werror", *includes, str(tmp_path / "main.c")]
    command += ["-Wl,--whole-archive", str(archives[0]), "-Wl,--no-whole-archive", str(archives[1])]
    subprocess.run([*command, "-lm", "-pthread", "-o", str(tmp_path / "both")], check=True)
    printed = subprocess.run([tmp_path / "both"], capture_output=True, text=True, check=True).stdout.split()
    np.testing.assert_array_equal(np.array(printed, np.float32), np.array(expected))
    assert expected[0] != expected[1]


@pytest.mark.toolchain
@pytest.mark.parametrize("standard", ["c++98", "c++20"])
def test_cpp_includes_the_public_header(standard: str, tmp_path: Path) -> None:
    source = written(generate(planned(model(), "portable"), "net", "test"), tmp_path)
    text = '#include "net.h"\nint main() { return net_input_count() == 1 && net_context_bytes(1) > 0 ? 0 : 1; }\n'
    (source / "main.cpp").write_text(text)
    flags = [f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-long-long", "-fsyntax-only"]
    subprocess.run(["g++", *flags, "main.cpp"], cwd=source, check=True)


CLEAN = [("mobilenet-v3-small", "zig", "native"), ("mobilenet-v3-small", "gcc", "native")]
MORE = [
    ("shufflenet-v2-0.5", "gcc", "portable"),
    ("googlenet", "gcc", "native"),
    ("googlenet", "zig", "native+sse2"),
    ("ssd-mobilenet-v2", "clang", "native+avx2"),
]


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("network", "compiler", "target"), [*CLEAN, *(pytest.param(*m, marks=pytest.mark.slow) for m in MORE)]
)
def test_networks_compile_without_warnings(network: str, compiler: str, target: str, tmp_path: Path) -> None:
    if compiler == "clang" and shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    tool = zig() if compiler == "zig" else system(compiler)
    graph = optimize(bind(normalize(zoo(network, image_size=64))))[0]
    compiled(make_plan(graph, parse(target)), network, tmp_path, tool)
