"""Random inputs that a model can work with: token ids within any vocabulary, masks that mask nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError

Array = NDArray[Any]

# Every vocabulary in use is larger, and no model's file says how large its own is.
TOKEN_IDS = range(1, 1000)


def random_inputs(
    names: Sequence[str],
    dtypes: Sequence[np.dtype[Any]],
    shapes: Sequence[tuple[int, ...]],
    seed: int | None = None,
) -> list[Array]:
    """One C-contiguous array per input, in order; equal for equal seeds, fresh ones without a seed.

    Named like a mask: ones. Integers: zeros when named like token types, 0, 1, 2 ... along the last axis when
    named like positions, all values of 8 bits, else token ids in 1..999. Floats: uniform in [0, 1).

    Raises InputError for a dtype that is neither boolean, integer nor floating point.
    """
    source = np.random.default_rng(seed)
    inputs = zip(names, dtypes, shapes, strict=True)
    return [
        _random_input(name.lower(), np.dtype(dtype), tuple(shape), source) for name, dtype, shape in inputs
    ]


def _random_input(
    name: str, dtype: np.dtype[Any], shape: tuple[int, ...], source: np.random.Generator
) -> Array:
    if "mask" in name:
        return np.ones(shape, dtype)
    if dtype.kind == "b":
        return source.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return _whole_numbers(name, dtype, shape, source)
    if dtype.kind == "f":
        return source.random(shape).astype(dtype)
    message = f"input {name!r} has dtype {dtype}; random values are made for booleans, integers and floats."
    raise InputError(message)


def _whole_numbers(
    name: str, dtype: np.dtype[Any], shape: tuple[int, ...], source: np.random.Generator
) -> Array:
    if "type" in name or "segment" in name:
        return np.zeros(shape, dtype)
    if "position" in name and shape:
        return np.broadcast_to(np.arange(shape[-1], dtype=dtype), shape).copy()
    if dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return source.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return source.integers(TOKEN_IDS.start, TOKEN_IDS.stop, shape).astype(dtype)
