"""Random inputs: right shapes and dtypes, and values that a model can work with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.random_inputs import random_inputs

SHAPES = st.lists(st.integers(0, 5), min_size=0, max_size=4).map(tuple)
DTYPES = st.sampled_from(["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"])
NAMES = st.sampled_from(["input_ids", "attention_mask", "token_type_ids", "position_ids", "images"])


def one(name: str, dtype: str, shape: tuple[int, ...], seed: int | None = 0) -> np.ndarray[Any, Any]:
    return random_inputs([name], [np.dtype(dtype)], [shape], seed)[0]


@given(NAMES, DTYPES, SHAPES)
def test_arrays_have_the_shape_and_dtype_asked_for(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    array = one(name, dtype, shape)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_equal_seeds_give_equal_arrays_and_no_seed_fresh_ones() -> None:
    first, again, other = (one("input_ids", "int64", (4, 64), seed) for seed in (7, 7, None))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_masks_mask_nothing() -> None:
    for dtype in ("int64", "float32", "bool"):
        assert (one("attention_mask", dtype, (2, 8)) == 1).all()


def test_token_ids_fit_small_vocabularies_and_differ() -> None:
    ids = one("input_ids", "int64", (2, 128))
    assert ids.min() > 0
    assert ids.max() < 1000
    assert len(np.unique(ids)) > 50


def test_token_types_are_zero_and_positions_count() -> None:
    assert not one("token_type_ids", "int64", (2, 8)).any()
    assert np.array_equal(one("position_ids", "int64", (2, 4)), [[0, 1, 2, 3]] * 2)


def test_bytes_use_their_whole_range() -> None:
    assert set(one("image", "uint8", (10_000,)).tolist()) == set(range(256))
    assert one("image", "int8", (10_000,)).min() == -128


def test_floats_lie_in_zero_to_one() -> None:
    values = one("images", "float32", (3, 100))
    assert values.min() >= 0
    assert values.max() < 1


def test_a_dtype_without_random_values_is_named() -> None:
    with pytest.raises(InputError, match=r"'text' has dtype object"):
        one("text", "object", (1,))
