"""Compressed sparse bfloat16 products on AMX tiles."""
