"""Bytes replaced by way of a table."""
