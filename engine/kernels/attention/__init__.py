"""Attention of one head and sixteen queries at a time."""
