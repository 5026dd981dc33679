"""Measuring: kernels by themselves, whole programs, and the programs of others."""
