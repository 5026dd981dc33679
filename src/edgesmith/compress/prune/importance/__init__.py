"""How much a unit matters: one criterion a file, registered by name."""
