"""Sums over the positions of each sequence."""
