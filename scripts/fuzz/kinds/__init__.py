"""The kinds of input that are mutated, one a file."""
