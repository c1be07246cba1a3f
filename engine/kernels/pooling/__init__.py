"""Sliding windows over images: their largest number, or their mean."""
