"""The low-rank methods, one file each."""
