"""Convolutions of float32 images: lanes are pixels, a tap is an offset, nothing is gathered."""
