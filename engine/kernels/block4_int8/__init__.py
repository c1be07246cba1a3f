"""Sparse int8 products of whole quads."""
