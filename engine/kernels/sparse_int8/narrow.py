"""Unstructured sparse int8 for panels of 16 and 32 lanes.

Activations lie as rows of words, each a byte and a zero above it. Interleaving the words of two rows a, c puts
both of a lane's values beside each other, and a product of quads adds both products to that lane:

    interleaved (x[a], x[c])   dword = a[l] 0 c[l] 0
    weights                          wa   0 wc   0

One shuffle and one product for two nonzeros of sixteen lanes. So few lanes leave the products' latency open: every
other pair of a row has sums of its own, which are whole numbers and may be added in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.arguments import product_of, strip_and_panel
from engine.kernels.products.epilogue import finish
from engine.kernels.products.groups import HEADER
from engine.kernels.products.sparse_groups import BAND
from engine.kernels.simd.arithmetic import splat_i32
from engine.kernels.simd.bytes import interleave_half_words, interleave_words_high, interleave_words_low
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import load_i32, read_i32, read_u16, store_i32


@inner
def _pair_of_sixteen(x: int, weights: int, rows: int, sums: Any) -> Any:
    """Add two nonzeros' products to the sums of a row."""
    values = interleave_half_words(x + (read_u16(rows) << 5), x + (read_u16(rows + 2) << 5))
    return (dot_u8s8(sums[0], values, splat_i32(read_i32(weights + 1))),)


@inner
def _pair_of_thirty_two(x: int, weights: int, rows: int, sums: Any) -> Any:
    a, c = load_i32(x + (read_u16(rows) << 6)), load_i32(x + (read_u16(rows + 2) << 6))
    both = splat_i32(read_i32(weights + 1))
    return (
        dot_u8s8(sums[0], interleave_words_low(a, c), both),
        dot_u8s8(sums[1], interleave_words_high(a, c), both),
    )


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
def _none_of_sixteen() -> Any:
    return (splat_i32(0),)


@inner
def _none_of_thirty_two() -> Any:
    return splat_i32(0), splat_i32(0)


@inner
def _save_sixteen(sums: Any, more: Any, at: int) -> None:
    store_i32(sums[0] + more[0], at)


@inner
def _save_thirty_two(sums: Any, more: Any, at: int) -> None:
    store_i32(sums[0] + more[0], at)
    store_i32(sums[1] + more[1], at + 64)


_BODIES: dict[int, tuple[Callable[..., Any], ...]] = {
    16: (_pair_of_sixteen, _begin_sixteen, _none_of_sixteen, _save_sixteen),
    32: (_pair_of_thirty_two, _begin_thirty_two, _none_of_thirty_two, _save_thirty_two),
}


def narrow_kernel(width: int, block_k: int) -> Kernel:
    """The kernel that multiplies one band by one panel of 16 or 32 lanes.

    block_k   features of a block, as the weights were packed
    """
    pair, begin, none, save = _BODIES[width]
    header_bytes, block_bytes, shift = 4 * HEADER, block_k * 2 * width, (4 * width).bit_length() - 1

    @kernel("sparse_int8", f"2x{width}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        blocks = -(-a.k // block_k)
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
                    y0, y1 = scratch + (row0 << shift), scratch + (row1 << shift)
                    sums0, sums1 = begin(block, start + 4 * row0, y0), begin(block, start + 4 * row1, y1)
                    more0, more1 = none(), none()
                    rows = weights + 8 * count + 4
                    end = rows - 4
                    for _ in range(count // 2):
                        sums0 = pair(x, weights, rows, sums0)
                        sums1 = pair(x, weights + 4, rows + 4, sums1)
                        more0 = pair(x, weights + 8, rows + 8, more0)
                        more1 = pair(x, weights + 12, rows + 12, more1)
                        weights += 16
                        rows += 16
                    if weights < end:
                        sums0 = pair(x, weights, rows, sums0)
                        sums1 = pair(x, weights + 4, rows + 4, sums1)
                        rows += 8
                    weights = rows
                    save(sums0, more0, y0)
                    save(sums1, more1, y1)
                    group += header_bytes
            finish(a.epilogue, scratch, band * BAND, BAND, panel)

    return multiply
