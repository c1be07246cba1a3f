"""Softmax over features."""
