"""Compressed sparse float32 products by six bfloat16 products on AMX tiles."""
