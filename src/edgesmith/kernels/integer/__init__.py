"""Kernels that multiply integers and sum in 32 bits."""
