"""Cutting the rows of a request into batches that an engine takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from engine import InputError
from engine.utils import split_engine_inputs

Array = NDArray[Any]

# An engine without a fixed batch compiles one plan per batch size: powers of two need few, and no padding.
LARGEST_DYNAMIC_BATCH = 64


def dynamic_batches(rows: int, largest: int = LARGEST_DYNAMIC_BATCH) -> list[tuple[int, int]]:
    """Begin and end of pieces whose sizes are powers of two, largest first: 13 rows are 8 + 4 + 1."""
    pieces, begin = [], 0
    while begin < rows:
        size = min(largest, 1 << ((rows - begin).bit_length() - 1))
        pieces.append((begin, begin + size))
        begin += size
    return pieces


def split(arrays: Sequence[Array], batch_size: int | None) -> list[list[Array]]:
    """Pieces of dimension 0 as an engine of this batch size takes them.

    arrays       one per input, all with the same dimension 0
    batch_size   each piece has this many rows, the last one padded by repeating its last row; None cuts
                 powers of two and pads nothing

    Raises InputError (a ValueError) when the arrays differ in dimension 0.
    """
    if batch_size is not None:
        pieces, rows = split_engine_inputs(arrays, batch_size)
        return pieces if rows else []
    rows = len(arrays[0]) if arrays else 0
    if any(len(array) != rows for array in arrays):
        message = f"The inputs of one request differ in dimension 0: {[len(array) for array in arrays]}."
        raise InputError(message)
    return [[array[begin:end] for array in arrays] for begin, end in dynamic_batches(rows)]
