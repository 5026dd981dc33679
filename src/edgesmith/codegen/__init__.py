"""Plan to C package: the generated face of the product."""

from edgesmith.codegen.package import Package, generate

__all__ = ["Package", "generate"]
