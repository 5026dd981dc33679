"""Kernels that multiply and sum fp16."""
