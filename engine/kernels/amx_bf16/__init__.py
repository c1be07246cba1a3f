"""Dense bfloat16 products on AMX tiles."""
