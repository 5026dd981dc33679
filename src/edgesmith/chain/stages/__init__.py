"""Stages of the chain, one file each."""
