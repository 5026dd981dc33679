"""Plan to C package: the generated face of the product."""

from edgesmith.codegen.package import Package, generate
from edgesmith.codegen.variants import generate_variants

__all__ = ["Package", "generate", "generate_variants"]
