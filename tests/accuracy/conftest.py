"""The scripts under ``benchmarks/`` are no part of the package: the checkout has to be on the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
