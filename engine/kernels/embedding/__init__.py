"""Rows of tables as columns of panels."""
