"""How to add a peer: another runtime that ``edgesmith bench`` times against.

A peer is one file in ``src/edgesmith/bench/peers/``; its name is the peer's name. Edgesmith reads the constants
``PACKAGES`` and ``CONVERTER`` from it, makes a virtual environment with exactly these packages when the peer is first
needed, and loads the file there, in a process of its own. So the file imports nothing of Edgesmith, and its runtime
only inside functions:

- ``load(model, folder, feeds, outputs, threads)`` gives a callable for one inference and the settings that it runs
  with, which are printed: the best ones for latency, in single precision. Inputs are in place before the first run, as
  they are for Edgesmith's own programs. Where reading the results takes time of its own, give ``(run, read)``.
- ``convert(model, folder)``, where the runtime wants another format: writes it into ``folder``, which is kept.

Whatever they raise is the reason for which the peer is reported as absent. Precision needs no promise: the results are
compared with double precision, and a runtime that computes in less does not count.

This guide is such a file: its peer is the reference implementation of ONNX. Run, it measures itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Here Edgesmith's own environment, which has the package; else such as ("openvino==2026.4.1", "numpy==2.4.6").
PACKAGES = ()


def load(
    model: Path, folder: Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], threads: int
) -> tuple[Callable[[], list[np.ndarray]], dict[str, Any]]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    if threads != 1:
        raise ValueError("the reference implementation has one thread")
    evaluator = ReferenceEvaluator(onnx.load(model))
    return (lambda: evaluator.run(list(outputs), dict(feeds))), {"version": onnx.__version__}


def main() -> None:
    import edgesmith
    from edgesmith import zoo
    from edgesmith.bench.compare import Contest
    from edgesmith.bench.installed import install
    from edgesmith.bench.peers import Peer

    model = zoo.build("lenet-5")
    program = edgesmith.compile(model, output="lenet")
    # A file in the peers' folder is found by itself.
    installed = install([Peer("onnx-reference", Path(__file__), PACKAGES)], print)
    with Contest(model, installed, print) as contest:
        found = contest.compare(program, rounds=3)
    for name, measured in found.measured.items():
        print(f"{name}: {measured.times.median / 1e6:.3f} ms, error {measured.error:.1e}, {dict(measured.settings)}")
    assert found.best == "onnx-reference" and found.ratio("onnx-reference") > 1
    assert not found.reduced("onnx-reference")
    two = edgesmith.load("lenet", threads=2)
    with Contest(model, installed, print) as contest:
        found = contest.compare(two, rounds=1)
    print(found.absent)
    assert "one thread" in found.absent["onnx-reference"]


if __name__ == "__main__":
    main()
