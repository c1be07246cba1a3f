"""Between rows and panels."""
