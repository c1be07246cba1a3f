"""Vectors: one name an instruction, register tiles, vector mathematics."""
