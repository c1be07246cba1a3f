"""Quantisation whose scale and zero point follow from the numbers themselves."""
