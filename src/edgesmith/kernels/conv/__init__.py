"""Convolution algorithms."""
