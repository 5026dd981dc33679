"""What a user without PyTorch is told."""

import subprocess
import sys

import pytest

PROGRAM = """
import importlib, sys
sys.modules["torch"] = None
from edgesmith.errors import MissingDependency
try:
    importlib.import_module(sys.argv[1])
except MissingDependency as error:
    assert "edgesmith[train]" in str(error), error
else:
    raise SystemExit("no error")
"""


@pytest.mark.parametrize("package", ["edgesmith.compress", "edgesmith.compress.prune", "edgesmith.compress.training"])
def test_the_extra_is_named(package):
    done = subprocess.run([sys.executable, "-c", PROGRAM, package], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
