"""Without PyTorch the import says what to install."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.torch

PROGRAM = """
import sys
sys.modules["torch"] = None
from edgesmith.errors import MissingDependency
try:
    import edgesmith.compress.lowrank
except MissingDependency as error:
    print(error)
"""


def test_import_names_the_extra():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "pip install edgesmith[train]" in done.stdout
