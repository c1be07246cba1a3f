"""Cutting requests into engine batches: every row comes back once, in order, from pieces an engine takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.utils import join_engine_outputs
from pipelines.batching import LARGEST_DYNAMIC_BATCH, dynamic_batches, split

ROWS = st.integers(1, 200)


@given(ROWS, st.integers(1, 70))
def test_fixed_pieces_have_the_batch_size_and_join_to_the_whole(rows: int, batch_size: int) -> None:
    arrays = [np.arange(rows * 2).reshape(rows, 2), np.arange(rows)]
    pieces = split(arrays, batch_size)
    assert len(pieces) == -(-rows // batch_size)
    assert all(len(array) == batch_size for piece in pieces for array in piece)
    for array, joined in zip(arrays, join_engine_outputs(pieces, rows), strict=True):
        np.testing.assert_array_equal(joined, array)


@given(ROWS)
def test_dynamic_pieces_are_powers_of_two_without_padding(rows: int) -> None:
    pieces = split([np.arange(rows)], None)
    sizes = [len(piece[0]) for piece in pieces]
    assert sum(sizes) == rows
    assert set(sizes) <= {1 << power for power in range(LARGEST_DYNAMIC_BATCH.bit_length())}
    np.testing.assert_array_equal(join_engine_outputs(pieces, rows)[0], np.arange(rows))


def test_dynamic_pieces_begin_with_the_largest() -> None:
    assert dynamic_batches(13) == [(0, 8), (8, 12), (12, 13)]


def test_padding_repeats_the_last_row() -> None:
    last = split([np.array([1, 2, 3, 4, 5])], 4)[1][0]
    np.testing.assert_array_equal(last, [5, 5, 5, 5])


def test_no_rows_give_no_pieces() -> None:
    assert split([np.empty((0, 3))], 4) == []


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_inputs_of_different_length_are_refused(batch_size: int | None) -> None:
    with pytest.raises(ValueError, match="dimension"):
        split([np.zeros(2), np.zeros(3)], batch_size)
