"""What is worth knowing about a model or a program, as data and as text."""
