"""Rows in calls: each row once, few shapes, little that only fills up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.grouping import FEW, LENGTHS, LENGTHS_OF_ONE, MANY, calls, rounded, sizes

COUNTS = st.lists(st.integers(1, 700), min_size=1, max_size=150)


@given(COUNTS, st.sampled_from([None, 1, 3, 16]), st.sampled_from([90, 512, 700]))
def test_every_row_is_in_one_call_that_holds_it(
    counts: list[int], batch_size: int | None, longest: int
) -> None:
    tokens = np.minimum(np.array(counts), longest)
    found = list(calls(tokens, longest, batch_size))
    assert sorted(place for call in found for place in call.places.tolist()) == list(range(len(counts)))
    for call in found:
        assert 0 < len(call.places) <= call.rows
        assert tokens[call.places].max() <= call.length <= longest
        assert call.rows == batch_size or (batch_size is None and call.rows in (1, FEW, MANY))
        assert call.rows * call.length <= max(MANY * LENGTHS[0], (batch_size or FEW) * 1024)


def test_texts_of_all_lengths_need_no_more_plans_than_an_engine_keeps() -> None:
    rng = np.random.default_rng(0)
    for longest, most in ((512, 128), (512, 512)):
        shapes = {
            (call.rows, call.length)
            for rows in range(1, 200)
            for call in calls(rng.integers(1, most, rows), longest, None)
        }
        assert len(shapes) <= 8


@given(st.integers(1, 1000), st.sampled_from([FEW, MANY]))
def test_rows_that_fill_up_are_few(rows: int, many: int) -> None:
    found = sizes(rows, many)
    assert rows <= sum(found) <= rows + max(2, MANY - 27)
    assert found == sorted(found)
    assert len(found) <= rows // many + 8 + (many == FEW)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([LENGTHS, LENGTHS_OF_ONE]))
def test_rounded_lengths_hold_their_rows_and_end_at_the_longest(
    tokens: int, longest: int, steps: tuple[int, ...]
) -> None:
    tokens = min(tokens, longest)
    assert tokens <= rounded(tokens, steps, longest) <= longest


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(1, [1]), (2, [4]), (4, [4]), (5, [1, 4]), (26, [4] * 7), (27, [32]), (33, [1, 32]), (64, [32, 32])],
)
def test_sizes_of_requests(rows: int, expected: list[int]) -> None:
    assert sizes(rows, MANY) == expected
