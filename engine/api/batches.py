"""Cutting inputs into batches of one size, and joining what comes back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import InputError
from engine.kernels.row import Array


def split_engine_inputs(items: Sequence[Array], batch_size: int | None) -> tuple[list[list[Array]], int]:
    """Every array cut along axis 0 into pieces of `batch_size` (None: one of all items).

    The last piece is padded with its edge row, or with zeros where there are no items.

    Returns the pieces, one list of arrays each, and the number of items. Raises InputError when the arrays' first
    dimensions differ.
    """
    if not items:
        message = "there are no inputs to cut; give one array an input."
        raise InputError(message)
    totals = {len(array) for array in items}
    if len(totals) != 1:
        message = (
            f"the inputs have different first dimensions: {sorted(totals)}. All must hold the same items."
        )
        raise InputError(message)
    total = totals.pop()
    # Without items there is still one piece: what comes back has its shapes from somewhere.
    size = batch_size or max(total, 1)
    pieces = [[_piece(array, start, size) for array in items] for start in range(0, max(total, 1), size)]
    return pieces, total


def _piece(array: Array, start: int, size: int) -> Array:
    part = array[start : start + size]
    if not len(part):
        return np.zeros((size, *array.shape[1:]), array.dtype)
    if len(part) < size:
        part = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
    return np.ascontiguousarray(part)


def join_engine_outputs(batches: Sequence[Sequence[Array]], total: int) -> list[Array]:
    """Outputs of the pieces joined along axis 0 and cut to `total` items."""
    return [np.concatenate(parts)[:total] for parts in zip(*batches, strict=True)]
