"""The sparsity patterns, one file each."""
