"""Slow, plain references to compare with; they import nothing of the product."""
