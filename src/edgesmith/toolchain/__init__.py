"""C package to binaries: the one place that starts compilers."""

from edgesmith.toolchain.build import build
from edgesmith.toolchain.compiler import Compiler, zig

__all__ = ["Compiler", "build", "zig"]
