"""Sparse int8 products, any pattern of zeros."""
