"""Elementwise steps, on rows and on panels."""
