"""Tuning: kernels measured on this machine, a database of what they took, and models of what others would take."""
