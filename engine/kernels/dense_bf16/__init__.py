"""Dense bfloat16 products in vector registers."""
