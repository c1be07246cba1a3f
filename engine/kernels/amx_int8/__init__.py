"""Dense int8 products on AMX tiles."""
