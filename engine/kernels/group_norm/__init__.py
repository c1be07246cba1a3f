"""Normalisation of groups of channels over all pixels of an image."""
