"""Kernels that multiply bf16 and sum in f32."""
