"""One file a packaging form."""
