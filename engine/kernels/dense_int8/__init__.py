"""Dense int8 products."""
