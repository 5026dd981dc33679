"""What arithmetic in fp16 does to a network: programs for the Cortex-A76, run by QEMU on photographs.

    python -m benchmarks.halves [--photographs 240] [--network NAME] [--material FOLDER]

Prints, for each network, the share of the photographs to which the program gives the class that the float model has in
ONNX Runtime, and the signal of the outputs over their error. Needs the collection of models and data, and QEMU.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from edgesmith import api
from edgesmith.device import emulated
from edgesmith.ir import DType
from edgesmith.oracle import Oracle
from edgesmith.quantize import Settings

from .accuracy.cases import CASES
from .accuracy.intervals import share

CROPS = 10
"""Of each photograph; the first one is used."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--photographs", type=int, default=240)
    options.add_argument("--network", default="ImageNet", help="part of its name")
    options.add_argument("--material", type=Path, default=Path(__file__).parents[2] / "shared" / "material")
    given = options.parse_args()
    for case in CASES:
        if "ImageNet" not in case.name or given.network not in case.name:
            continue
        same: list[bool] = []
        signal = noise = 0.0
        with tempfile.TemporaryDirectory() as folder:
            artifact = api.compile(
                case.model(given.material),
                output=Path(folder) / "out",
                target="raspberry-pi-5",
                precision="fp16",
                quantization=Settings(precision="fp16", activations=DType.F16),
                tune="off",
                verify=False,
                cache=False,
            )
            oracle = Oracle(str(case.model(given.material)))
            (name,) = artifact.inputs
            samples = (x for i, x in enumerate(case.test(given.material).read()) if i % CROPS == 0)
            with emulated(artifact.target).open(artifact) as session:
                for x in (x for _, x in zip(range(given.photographs), samples, strict=False)):
                    session.bind([x])
                    session.run_steps(0, len(artifact.manifest["steps"]))
                    ours = session.outputs()[0].astype(np.float64)
                    theirs = next(iter(oracle.run({name: x}).values())).astype(np.float64)
                    same.append(bool(ours.argmax() == theirs.argmax()))
                    signal, noise = signal + np.square(theirs).sum(), noise + np.square(ours - theirs).sum()
        found, ratio = share(np.array(same)), 10 * np.log10(signal / noise)
        interval = f"{found.low:.1%} to {found.high:.1%}"
        print(f"{case.name}: {found.value:.1%} of {len(same)} ({interval}), SQNR {ratio:.1f} dB", flush=True)


if __name__ == "__main__":
    main()
