"""Unstructured sparse int8 over few lanes: four nonzeros at once."""
