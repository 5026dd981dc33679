"""The chain of compression: stages from a trained module to a compiled program under a budget."""
