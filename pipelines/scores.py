"""Logits to scores, in forms that neither overflow nor lose small differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def softmax(logits: NDArray[Any]) -> Float64:
    """Shares of the last axis that sum to 1, float64."""
    wide = logits.astype(np.float64)
    powers: Float64 = np.exp(wide - wide.max(axis=-1, keepdims=True))
    shares: Float64 = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: NDArray[Any]) -> Float64:
    """1 / (1 + exp(-x)) of each element, float64; the exponent is never positive."""
    wide = logits.astype(np.float64)
    power = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1.0, power) / (1.0 + power)
