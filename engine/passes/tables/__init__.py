"""Chains from 8 bits to 8 bits become tables."""
