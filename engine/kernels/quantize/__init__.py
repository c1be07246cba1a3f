"""Panels stored as quads or whole numbers."""
