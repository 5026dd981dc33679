"""C text: a writer, expressions that serve numpy, scalar C and vector C, and the vector layer of an ISA."""
