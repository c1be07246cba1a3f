"""Weights of few bits stay what they are, under float32 activations."""
