"""Kinds of connections: one file each, found through the registry."""
