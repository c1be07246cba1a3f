"""Pairs of bfloat16: how numbers become them, and in which order they are added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from kernel_runs import call
from numpy.typing import NDArray

from engine.jit import inner, kernel, record
from engine.kernels.bf16_planes.split import bf16_parts, pair_of, store_half
from engine.kernels.row import aligned
from engine.kernels.simd.mathematics import rough_decay
from engine.kernels.simd.memory import load_f32, store_f32, store_i32
from engine.kernels.simd.pairs import add_pairs, exchanged, rounded_pairs

Array = NDArray[Any]
ARGS = np.dtype([("a", np.int64), ("b", np.int64), ("y", np.int64)])
args_of = record(ARGS)
SMALLEST = np.finfo(np.float32).smallest_normal


def _numbers() -> Array:
    """Numbers of all exponents, as many as are whole vectors; where rounding would give infinity too."""
    x = np.arange(0, 2**32, 40009, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([x, np.array([3.4028235e38, -3.39e38, np.inf, -np.inf, 0.0, -0.0], np.float32)])
    return np.append(x, np.zeros(-x.size % 16, np.float32)).reshape(-1, 16)


def _applied(name: str, function: Callable[..., None], a: Array, b: Array, y: Array) -> Array:
    """What an inner function of addresses (a, b, y) writes to y, vector by vector of a."""

    @kernel(f"test_{name}")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        for tile in range(tile_begin, tile_end):
            function(e.a + 64 * tile, e.b + 64 * tile, e.y + 64 * tile)

    held = []
    args = np.zeros(1, ARGS)
    for field, array in zip(("a", "b", "y"), (a, b, y), strict=True):
        held.append(aligned(array.shape, array.dtype))
        held[-1][:] = array
        args[field] = held[-1].ctypes.data
    call(apply, args, 0, len(a))
    return np.asarray(held[-1])


@inner
def _pairs(a: int, b: int, y: int) -> None:
    store_i32(pair_of(load_f32(a), load_f32(b)), y)


@inner
def _halves(a: int, b: int, y: int) -> None:
    store_half(load_f32(a), y)
    store_half(load_f32(b), y + 32)


@inner
def _sum(a: int, b: int, y: int) -> None:
    store_f32(add_pairs(load_f32(y), rounded_pairs(load_f32(a), load_f32(b))), y)


@inner
def _exchanged_sum(a: int, b: int, y: int) -> None:
    store_f32(add_pairs(load_f32(y), exchanged(rounded_pairs(load_f32(a), load_f32(b)))), y)


@inner
def _rough(a: int, b: int, y: int) -> None:
    store_f32(rough_decay(load_f32(a)), y)


def _check_rounded(got: Array, x: Array) -> None:
    """As `bf16_parts`; what is below the smallest normal may be 0."""
    expected = bf16_parts(x, 1)[0].reshape(x.shape)
    is_number = ~np.isnan(x)
    small = np.abs(x) < 2 * SMALLEST
    assert np.array_equal(got[is_number & ~small], expected[is_number & ~small])
    assert (((got == expected) | (got & 0x7FFF == 0))[small]).all()
    assert np.isnan((got[~is_number].astype(np.uint32) << np.uint32(16)).view(np.float32)).all()


def test_pairs_and_halves_are_rounded_half_to_even_and_stay_finite() -> None:
    a = _numbers()
    b = a[::-1].copy()
    pairs = _applied("pairs", _pairs, a, b, np.zeros(a.shape, np.uint32))
    halves = _applied("halves", _halves, a, b, np.zeros((*a.shape, 2), np.uint16)).reshape(-1, 2, 16)
    for i, x in enumerate((a, b)):
        _check_rounded((pairs >> np.uint32(16 * i)).astype(np.uint16), x)
        _check_rounded(halves[:, i], x)


def test_the_upper_number_of_a_pair_is_added_first() -> None:
    large, small = np.full((1, 16), 2.0**30, np.float32), np.full((1, 16), 3.0, np.float32)
    # (-large + large) + small; what is added to -large first is lost.
    for name, function, expected in (("sum", _sum, small), ("exchanged_sum", _exchanged_sum, 0 * small)):
        assert np.array_equal(_applied(name, function, small, large, -large), expected)


def test_rough_decay_is_within_its_bound_exact_at_zero_and_nothing_far_below() -> None:
    x = -np.abs(_numbers())
    x = np.where(np.isnan(x), np.float32(0), x)
    near = np.linspace(-87.2, 0, 160_000, dtype=np.float32).reshape(-1, 16)
    x = np.concatenate([near, x])
    got = _applied("rough_decay", _rough, x, x, np.zeros(x.shape, np.float32)).astype(np.float64)
    expected = np.exp(x.astype(np.float64))
    normal = x > -87.2
    assert (np.abs(got - expected)[normal] <= 1e-5 * expected[normal]).all()
    assert (got[x == 0] == 1).all()
    assert ((got >= 0) & (got < 2 * SMALLEST))[~normal].all()
    assert (got[x < -88] < SMALLEST).all()
    assert np.isnan(_applied("rough_decay", _rough, *[np.full((1, 16), np.nan, np.float32)] * 3)).all()
