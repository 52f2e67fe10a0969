"""Process-level fuzzing of the igpt program; `scripts/fuzz.py` is the entry."""
