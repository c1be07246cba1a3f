"""Random weights that behave like trained ones when they are pruned and quantised."""

from __future__ import annotations

from typing import SupportsFloat

import numpy as np

from engine.synthetic.builder import F32


def short_scale(value: SupportsFloat) -> np.float32:
    """A scale of three digits: the same whichever machine summed the calibration run."""
    return np.float32(f"{float(value):.3g}")


def prune(weight: F32, share: float, block: int, input_axis: int) -> F32:
    """Zero the smallest `share` of a weight, and scale the rest so that a product keeps its variance.

    weight      float32, any shape
    block       that many consecutive inputs of one output are zero together, where the inputs divide by it
    input_axis  the axis that a product sums over
    """
    if not share:
        return weight
    moved = np.moveaxis(weight, input_axis, -1)
    rows = np.ascontiguousarray(moved.reshape(-1, moved.shape[-1]))
    blocks = rows.reshape(-1, block if rows.shape[1] % block == 0 else 1).copy()
    sizes = np.abs(blocks).sum(1)
    count = round(share * sizes.size)
    blocks[np.argpartition(sizes, count)[:count]] = 0
    blocks *= np.sqrt((rows * rows).sum() / max((blocks * blocks).sum(), 1e-30))
    back = np.moveaxis(blocks.reshape(moved.shape), -1, input_axis)
    return np.ascontiguousarray(back).astype(np.float32)


def quantise_symmetric(weight: F32, scale: F32 | np.float32) -> F32:
    """Whole numbers in -127..127, as float32: rint(weight / scale), cut off at the ends."""
    whole: F32 = np.clip(np.rint(weight / scale), -127, 127)
    return whole
