"""Dense int8 products over few lanes."""
