"""Unstructured sparse int8: two nonzeros of a row, at any two k, are multiplied together.

Activations lie as rows of bytes, 64 lanes a row in "pair order": bytes 2i and 2i + 1 of a group of sixteen
are lanes of two different result vectors. Interleaving the words of two rows a, c puts two lanes of
either into every dword, and a product of quads with half of its weights zero picks one lane of the two:

    interleave low (x[a], x[c])   dword = a[l] a[l'] c[l] c[l']
    weights                       wa    0     wc   0      -> lane l
                                  0     wa    0    wc     -> lane l'

Two shuffles and four products for two nonzeros of 64 lanes: where shuffles have a port of their own
(Zen 4) half of the dense peak is the bound, where they share one with the products (Intel) a third.
"""

from __future__ import annotations

from typing import Any

from engine.jit import inner
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
from engine.kernels.simd.bytes import interleave_words_high, interleave_words_low
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import load_i32, read_i32, read_u16, store_i32
from engine.kernels.sparse_int8.pack import pack

WIDTH, ROW_BYTES = 64, 64
# 48 KiB: more than an L1, yet the best of 256 to 768 on Zen 4, where the products are the limit and not the loads.
BLOCK_K = 768


@inner
def _pair(x: int, weights: int, rows: int, sums: Any) -> Any:
    """Add two nonzeros' products to the four sums of a row."""
    a, c = load_i32(x + (read_u16(rows) << 6)), load_i32(x + (read_u16(rows + 2) << 6))
    odd, even = splat_i32(read_i32(weights)), splat_i32(read_i32(weights + 1))
    low, high = interleave_words_low(a, c), interleave_words_high(a, c)
    return (
        dot_u8s8(sums[0], low, even),
        dot_u8s8(sums[1], low, odd),
        dot_u8s8(sums[2], high, even),
        dot_u8s8(sums[3], high, odd),
    )


@inner
def _load_sums(at: int) -> Any:
    return load_i32(at), load_i32(at + 64), load_i32(at + 128), load_i32(at + 192)


@inner
def _start_sums(at: int) -> Any:
    start = splat_i32(read_i32(at))
    return start, start, start, start


@inner
def _save_sums(sums: Any, at: int) -> None:
    store_i32(sums[0], at)
    store_i32(sums[1], at + 64)
    store_i32(sums[2], at + 128)
    store_i32(sums[3], at + 192)


@inner
def _add(x: int, weights: int, count: int, block: int, start: tuple[int, int], y: tuple[int, int]) -> int:
    sums0 = _start_sums(start[0]) if block == 0 else _load_sums(y[0])
    sums1 = _start_sums(start[1]) if block == 0 else _load_sums(y[1])
    rows = weights + 8 * count + 4
    prefetch_stream(weights, 16 * count)
    for i in range(count):
        sums0 = _pair(x, weights + 8 * i, rows + 8 * i, sums0)
        sums1 = _pair(x, weights + 8 * i + 4, rows + 8 * i + 4, sums1)
    _save_sums(sums0, y[0])
    _save_sums(sums1, y[1])
    return rows + 8 * count


def _pack(w: Array) -> PackedWeights:
    return pack(w, BAND, BLOCK_K)


def _work(shape: ProductShape) -> Work:
    blocks = -(-shape.k // BLOCK_K)
    # Every other row and block has an odd nonzero, whose pair is half empty.
    pairs = shape.nonzeros / 2 + shape.m * blocks / 4
    return grouped_work(shape.m, shape.k, shape.lanes, pairs, blocks)


# Measured on an EPYC (Zen 4) by `python -m engine.warm --calibrate`, at each of these levels.
_COEFFICIENTS = {
    "avx512_vnni": {
        64: Coefficients(0.298, 6.73, 1.32, 0.494, 0.0152),
    },
    "avx2": {
        64: Coefficients(1.15, 29.1, 0.555, 0.169, 0),
    },
    "generic": {
        64: Coefficients(2.43, 33.7, 42.9, 0.748, 0.0137),
    },
}

ROW = ProductRow(
    family="sparse_int8",
    operand="u8",
    reads="bytes",
    kernels={WIDTH: group_kernel("sparse_int8", WIDTH, GroupForm(BLOCK_K, 4, BLOCK_K * ROW_BYTES, _add))},
    pack=_pack,
    k_steps=lambda k: k,
    cost=Cost(_work, _COEFFICIENTS),
    scratch=group_scratch,
    whole_panels=True,
)
