"""Dense float32 products over few lanes."""
