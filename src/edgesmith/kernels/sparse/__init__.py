"""Products with constant weights of which many are zero."""
