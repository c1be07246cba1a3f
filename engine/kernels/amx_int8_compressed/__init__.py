"""Compressed sparse int8 products on AMX tiles."""
