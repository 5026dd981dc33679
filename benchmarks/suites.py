"""Measure the suites against all peers and write data, tables and pictures into this folder.

    python benchmarks/suites.py [edge] [tiny] [int8] [--fresh] [--rounds N] [--threads 1,2] [--against all]

Each network is saved when it is measured; after an interruption the same command goes on, and without --fresh it only
draws what is there again. A full run takes one to two hours on two cores, the first one longer: it installs the peers.
PyTorch and ExecuTorch take half of that; without them: --against onnxruntime,openvino,ncnn,mnn,litert. Let nothing else
run meanwhile, and tune the networks first (edgesmith tune zoo:NAME) or give --tune full.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from edgesmith.cli import main as edgesmith

FOLDER = Path(__file__).parent
SUITES = ("edge", "tiny", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", default=SUITES, help="edge, tiny, int8 (default: all)")
    parser.add_argument("--against", default="all")
    parser.add_argument("--rounds", default="15")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--tune", default="cached")
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    options = parser.parse_args()
    os.chdir(FOLDER.parent)
    for suite in options.suites:
        call = ["bench", "--suite", suite, "--against", options.against, "--threads", options.threads]
        call += ["--rounds", options.rounds, "--tune", options.tune, "-o", f"{FOLDER.name}/{suite}.json"]
        sys.argv = ["edgesmith", *call, *(["--fresh"] if options.fresh else [])]
        try:
            edgesmith()
        except SystemExit as end:
            if end.code:
                raise


if __name__ == "__main__":
    main()
