"""Some vectors of lanes of one panel and one head: where a norm reads and writes them, and y of sixteen of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.jit import inner
from engine.kernels.norm.moments import FACTORS
from engine.kernels.simd.arithmetic import fused_multiply_add, splat_f32
from engine.kernels.simd.memory import load_f32, read_f32


class Tile(NamedTuple):
    """The record's fields, for one tile: read once, as nothing tells the compiler that stores leave them alone.

    y, bytes   0 where they are not wanted
    end        bytes of a row of x that belong to the tile
    moments    see moments.py
    """

    x: int
    y: int
    quads: int
    bytes: int
    k: int
    row_bytes: int
    end: int
    gain: int
    bias: int
    moments: int
    zero_point: int
    rounded: int
    step: Any
    inverse: Any
    inverse_rest: Any


@inner
def gain_of(t: Any, row: int) -> Any:
    """A row's gain, in every lane."""
    return splat_f32(read_f32(t.gain + 4 * row))


@inner
def bias_of(t: Any, row: int) -> Any:
    """A row's bias, in every lane."""
    return splat_f32(read_f32(t.bias + 4 * row))


@inner
def normalised(t: Any, at: int, lane: int, gain: Any, bias: Any) -> Any:
    """y at `at` bytes of x, in the vector whose first lane is `lane` bytes from the tile's."""
    mean, factor = load_f32(t.moments + lane), load_f32(t.moments + FACTORS + lane)
    return fused_multiply_add((load_f32(t.x + at) - mean) * factor, gain, bias)
