"""Rounding to 8 bits becomes part of the step that computes the numbers."""
