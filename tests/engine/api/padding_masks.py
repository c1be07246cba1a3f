"""Attention masks of several shapes, for tests that leave padding out."""

from __future__ import annotations

import numpy as np


def prefixes(length: int, *lengths: int) -> np.ndarray:
    """One sequence for each number of tokens, padded at the end."""
    return (np.arange(length) < np.array(lengths)[:, None]).astype(np.int64)


def with_holes(batch: int, length: int) -> np.ndarray:
    """Tokens anywhere, always at the first position."""
    mask = np.random.default_rng(3).integers(0, 2, (batch, length))
    mask[:, 0] = 1
    return mask
