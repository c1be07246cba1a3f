"""Unstructured sparse int8 over 16 or 32 lanes: four nonzeros of a row, at any four k, are one product of quads.

Activations lie as rows of bytes, in the order of lanes. Four such rows are short enough to be loaded into one
register (two, of 32 lanes), and one shuffle of bytes brings together what one lane has in each:

    16 lanes   loaded    x[a] | x[b] | x[c] | x[d]         shuffled   dword l = a[l] b[l] c[l] d[l]
    32 lanes             x[a] | x[b]   x[c] | x[d]                    dword l, and dword 16 + l
    weights                                                                   wa   wb   wc   wd

Four loads, a shuffle and a product for four nonzeros of sixteen lanes: the loads are the limit. Wider panels do
better in pairs (sparse_int8), whose loads bring 64 lanes at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.jit import Kernel, inner
from engine.kernels.cost import Coefficients, Work, grouped_work
from engine.kernels.products.sparse_groups import (
    BAND,
    GroupForm,
    group_kernel,
    group_scratch,
    prefetch_stream,
)
from engine.kernels.row import Array, Cost, PackedWeights, ProductRow, ProductShape
from engine.kernels.simd.arithmetic import splat_i32
from engine.kernels.simd.bytes import gather_sixteen, merge_high, merge_low, side_by_side
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import load_i32, read_i32, store_i32
from engine.kernels.sparse4_int8.pack import ENTRY, FOUR, pack

BLOCK_K = 768
_ENTRY_BYTES, _OFFSETS, _NEXT_ROW = ENTRY.itemsize, 8, 8


@inner
def _four_of_sixteen(x: int, weights: int, offsets: int, sums: Any) -> Any:
    """Add four nonzeros' products to the sums of a row."""
    ab, cd = read_i32(offsets), read_i32(offsets + 4)
    a, b = x + (ab & 65535), x + (ab >> 16 & 65535)
    c, d = x + (cd & 65535), x + (cd >> 16 & 65535)
    return (dot_u8s8(sums[0], gather_sixteen(a, b, c, d), splat_i32(read_i32(weights))),)


@inner
def _four_of_thirty_two(x: int, weights: int, offsets: int, sums: Any) -> Any:
    ab, cd = read_i32(offsets), read_i32(offsets + 4)
    a, b = x + 2 * (ab & 65535), x + 2 * (ab >> 16 & 65535)
    c, d = x + 2 * (cd & 65535), x + 2 * (cd >> 16 & 65535)
    first, second, w = side_by_side(a, b), side_by_side(c, d), splat_i32(read_i32(weights))
    return dot_u8s8(sums[0], merge_low(first, second), w), dot_u8s8(sums[1], merge_high(first, second), w)


@inner
def _begin_sixteen(block: int, start: int, at: int) -> Any:
    return (splat_i32(read_i32(start)) if block == 0 else load_i32(at),)


@inner
def _begin_thirty_two(block: int, start: int, at: int) -> Any:
    if block == 0:
        first = splat_i32(read_i32(start))
        return first, first
    return load_i32(at), load_i32(at + 64)


@inner
def _save_sixteen(sums: Any, at: int) -> None:
    store_i32(sums[0], at)


@inner
def _save_thirty_two(sums: Any, at: int) -> None:
    store_i32(sums[0], at)
    store_i32(sums[1], at + 64)


_BODIES: dict[int, tuple[Callable[..., Any], ...]] = {
    16: (_four_of_sixteen, _begin_sixteen, _save_sixteen),
    32: (_four_of_thirty_two, _begin_thirty_two, _save_thirty_two),
}


def _kernel(width: int) -> Kernel:
    add_four, begin, save = _BODIES[width]

    @inner
    def add(x: int, entry: int, count: int, block: int, start: tuple[int, int], y: tuple[int, int]) -> int:
        sums0, sums1 = begin(block, start[0], y[0]), begin(block, start[1], y[1])
        prefetch_stream(entry, _ENTRY_BYTES * count)
        for _ in range(count):
            sums0 = add_four(x, entry, entry + _OFFSETS, sums0)
            sums1 = add_four(x, entry + FOUR, entry + _OFFSETS + _NEXT_ROW, sums1)
            entry += _ENTRY_BYTES
        save(sums0, y[0])
        save(sums1, y[1])
        return entry

    return group_kernel("sparse4_int8", width, GroupForm(BLOCK_K, _ENTRY_BYTES, BLOCK_K * width, add))


def _pack(w: Array) -> PackedWeights:
    return pack(w, BAND, BLOCK_K)


def _work(shape: ProductShape) -> Work:
    blocks = -(-shape.k // BLOCK_K)
    # The last four of a row and block lacks one and a half nonzeros, if their number is any.
    fours = shape.nonzeros / FOUR + shape.m * blocks * 1.5 / FOUR
    return grouped_work(shape.m, shape.k, shape.lanes, fours, blocks, unit_bytes=_ENTRY_BYTES / 2)


# Measured on an EPYC (Zen 4) by `python -m engine.warm --calibrate`, at each of these levels.
_COEFFICIENTS = {
    "avx512_vnni": {
        16: Coefficients(0.905, 4.42, 1.91, 0.193, 0.000204),
        32: Coefficients(0.742, 2.36, 2.5, 0.269, 0.000607),
    },
    "avx2": {
        16: Coefficients(2.6, 2.06, 3.15, 0.134, 0),
        32: Coefficients(3.04, 8.22, 2.27, 0.426, 0.00411),
    },
    "generic": {
        16: Coefficients(3.01, 2.49, 43.7, 2.08, 0.00321),
        32: Coefficients(2.85, 10, 42.9, 2.1, 0),
    },
}

ROW = ProductRow(
    family="sparse4_int8",
    operand="u8",
    reads="bytes",
    kernels={width: _kernel(width) for width in _BODIES},
    pack=_pack,
    k_steps=lambda k: k,
    cost=Cost(_work, _COEFFICIENTS),
    scratch=group_scratch,
    whole_panels=True,
)
