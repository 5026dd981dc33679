"""Networks on microcontrollers: RAM, flash and executed instructions, counted on boards that QEMU emulates.

    .venv/bin/python benchmarks/microcontrollers.py MATERIAL [--markdown FILE]

MATERIAL is a folder with models that were trained (``models/kws/...``); what is not there is left out. The other
networks of MLPerf Tiny come from the zoo, quantised with synthetic inputs: the layers are those of the references, and
neither bytes nor instructions depend on the numbers in them. Outputs are compared with ONNX Runtime, integers bit for
bit. Figures are the same in every run; nothing is timed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import helper

import edgesmith
from edgesmith import api, zoo
from edgesmith.counting.board import board_instructions
from edgesmith.errors import DoesNotFit

TARGETS = ("nucleo-l4", "stm32f746")
COLUMNS = (
    "| network | target | limit | RAM | of it arena + scratch | flash | of it weights | instructions | MACs | patches |"
)


@dataclass(frozen=True)
class Network:
    name: str
    model: str | onnx.ModelProto
    shapes: dict[str, tuple[int, ...]] | None = None
    max_ram: int | None = None
    """Bytes; 0: no limit although it needs more than devices have; None: not worth a limit."""


ZOO = {
    "Image classification (ResNet-8), int8": ("mlperf-tiny-image-classification", {}),
    "Person detection (MobileNetV1-0.25, 96 x 96), int8": ("mlperf-tiny-person-detection", {}),
    "Anomaly detection (autoencoder), int8": ("mlperf-tiny-anomaly-detection", {}),
    "MobileNetV2-0.35, 144 x 144, int8": ("mobilenet-v2", {"width": 0.35, "image_size": 144}),
}
"""Built here, and quantised."""
LIMITS: dict[str, tuple[int, ...]] = {"mobilenet-v2": (0, 288 << 10)}


def networks(material: Path) -> Iterator[Network]:
    """The models that are there."""
    kws = {"input_1": (1, 49, 10, 1)}
    found = [
        ("DS-CNN keyword spotting, int8", "models/kws/kws_ref_model_int8.tf2onnx_qdq.onnx", kws),
        ("DS-CNN keyword spotting, f32", "models/kws/kws_ref_model_float32.tf2onnx.onnx", kws),
        ("micro_kws_m, int8", "models/kws_qdq/micro_kws_m_static_qdq.onnx", {"input_1": (1, 1960)}),
        ("micro_kws_m, f32", "models/kws_qdq/micro_kws_m_static_fp32.onnx", None),
    ]
    for name, file, shapes in found:
        if (material / file).is_file():
            yield Network(name, str(material / file), _shapes(material / file, shapes))
    for name, (network, sizes) in ZOO.items():
        model = zoo.build(network, **sizes)
        quantized = integer_inputs(api.quantize(model, "none", samples=2).model)
        for limit in LIMITS.get(network, (None,)):
            yield Network(name, quantized, None, limit)
    images = material / "models/imagenet/mobilenet_v1_0.25_224_float.tf2onnx.onnx"
    if images.is_file():
        quantized = integer_inputs(api.quantize(str(images), "none", samples=2).model)
        for limit in (0, 320 << 10):
            yield Network("MobileNetV1-0.25, 224 x 224, int8", quantized, None, limit)


def _shapes(file: Path, shapes: dict[str, tuple[int, ...]] | None) -> dict[str, tuple[int, ...]] | None:
    """With the names that the file has."""
    if shapes is None:
        return None
    names = [i.name for i in onnx.load(file).graph.input]
    return dict(zip(names, shapes.values(), strict=False))


def integer_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the QuantizeLinear that reads an input, which is an integer then: a camera gives bytes."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for value in graph.input:
        readers = [n for n in graph.node if value.name in n.input]
        if len(readers) == 1 and readers[0].op_type == "QuantizeLinear":
            (node,) = readers
            zero = next(t for t in graph.initializer if t.name == node.input[2])
            for reader in graph.node:
                reader.input[:] = [value.name if v == node.output[0] else v for v in reader.input]
            graph.node.remove(node)
            shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
            value.CopyFrom(helper.make_tensor_value_info(value.name, zero.data_type, shape))
    del graph.value_info[:]
    return changed


def row(network: Network, target: str, folder: Path) -> str:
    limit = "" if network.max_ram is None else f"{network.max_ram >> 10} KiB" if network.max_ram else "none"
    try:
        artifact = edgesmith.compile(
            network.model,
            target=target,
            output=folder / "out",
            shapes=network.shapes,
            tune="off",
            cache=False,
            name="net",
            max_ram=network.max_ram or (1 << 24),
            max_flash=4 << 20,
        )
    except DoesNotFit as error:
        return f"| {network.name} | {target} | {limit} | does not fit: {error.why.splitlines()[0]} | | | | | | |"
    found = artifact.verification
    assert found is not None and found["ok"], "not verified"
    manifest = artifact.manifest
    memory, patches = manifest["memory"], manifest["patches"]
    planned = memory["arena_bytes"] + memory["scratch_bytes_per_worker"]
    macs = sum(s["macs"] for s in manifest["steps"])
    cells = [network.name, target, limit, memory["ram_bytes"], planned, memory["flash_bytes"], memory["weights_bytes"]]
    cells += [f"{board_instructions(artifact) / 1e6:.2f} M", f"{macs / 1e6:.2f} M"]
    cells.append(f"{patches['rows']} x {patches['columns']}" if patches else "")
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("material", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    options = parser.parse_args()
    lines = [COLUMNS, "|" + "---|" * (COLUMNS.count("|") - 1)]
    print("\n".join(lines), flush=True)
    for network in networks(options.material):
        if options.only not in network.name:
            continue
        for target in TARGETS:
            with tempfile.TemporaryDirectory() as folder:
                lines.append(row(network, target, Path(folder)))
            print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
