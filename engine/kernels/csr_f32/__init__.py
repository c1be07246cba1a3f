"""Sparse float32 products."""
