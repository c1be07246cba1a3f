"""Dense float32 products."""
