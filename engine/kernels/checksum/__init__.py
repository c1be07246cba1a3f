"""Checksums of large arrays at the speed of memory."""
