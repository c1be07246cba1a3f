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

from engine.jit import Kernel, inner, kernel
from engine.kernels.cost import Coefficients, Work, grouped_work
from engine.kernels.products.arguments import product_of, strip_and_panel
from engine.kernels.products.epilogue import finish
from engine.kernels.products.groups import HEADER
from engine.kernels.products.sparse_groups import BAND, group_scratch, prefetch_stream
from engine.kernels.row import Array, Cost, PackedWeights, ProductRow, ProductShape
from engine.kernels.simd.arithmetic import splat_i32
from engine.kernels.simd.bytes import interleave_words_high, interleave_words_low
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import load_i32, read_i32, read_u16, store_i32
from engine.kernels.sparse_int8.narrow import narrow_kernel
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


def pair_kernel() -> Kernel:
    """The kernel that multiplies one band by one panel of 64 lanes."""
    header_bytes, block_bytes = 4 * HEADER, BLOCK_K * ROW_BYTES

    @kernel("sparse_int8", f"2x{WIDTH}__panel{WIDTH}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        blocks = -(-a.k // BLOCK_K)
        for index in range(tile_begin, tile_end):
            band, panel = strip_and_panel(a, index)
            head = a.w_index + 4 * read_i32(a.w_index + 4 * band)
            start = a.start + 4 * BAND * band
            weights = a.w + 4 * read_i32(head)
            group = head + 4 + 4 * blocks
            for block in range(blocks):
                x = a.x + panel * a.x_panel + block * block_bytes
                for _ in range(read_i32(head + 4 + 4 * block)):
                    count, row0, row1 = read_i32(group), read_i32(group + 4), read_i32(group + 8)
                    y0, y1 = scratch + (row0 << 8), scratch + (row1 << 8)
                    sums0 = _start_sums(start + 4 * row0) if block == 0 else _load_sums(y0)
                    sums1 = _start_sums(start + 4 * row1) if block == 0 else _load_sums(y1)
                    rows = weights + 8 * count + 4
                    prefetch_stream(weights, 16 * count)
                    for i in range(count):
                        sums0 = _pair(x, weights + 8 * i, rows + 8 * i, sums0)
                        sums1 = _pair(x, weights + 8 * i + 4, rows + 8 * i + 4, sums1)
                    weights = rows + 8 * count
                    _save_sums(sums0, y0)
                    _save_sums(sums1, y1)
                    group += header_bytes
            finish(a.epilogue, scratch, band * BAND, BAND, panel)

    return multiply


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
        16: Coefficients(0.88, 0.368, 3.32, 0.433, 0.00419),
        32: Coefficients(0.473, 1.99, 2.93, 0.547, 0.00732),
        64: Coefficients(0.288, 5.63, 3.03, 0.327, 0.00338),
    },
    "avx2": {
        16: Coefficients(1.63, 6.42, 1.59, 0.492, 0.00426),
        32: Coefficients(1.39, 9.22, 3.83, 0.865, 0.0112),
        64: Coefficients(1.15, 29.1, 0.555, 0.169, 0),
    },
    "generic": {
        16: Coefficients(2.63, 13.8, 40, 0.725, 0.00618),
        32: Coefficients(2.59, 28.1, 41.6, 1.05, 0.00802),
        64: Coefficients(2.43, 33.7, 42.9, 0.748, 0.0137),
    },
}

ROW = ProductRow(
    family="sparse_int8",
    operand="u8",
    reads="bytes",
    kernels={16: narrow_kernel(16, BLOCK_K), 32: narrow_kernel(32, BLOCK_K), WIDTH: pair_kernel()},
    pack=_pack,
    k_steps=lambda k: k,
    cost=Cost(_work, _COEFFICIENTS),
    scratch=group_scratch,
)
