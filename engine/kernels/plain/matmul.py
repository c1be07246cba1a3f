"""Products of two tensors as ONNX lays them out: what is no linear and no attention.

    f32        y[batch][row][n] = sum_k a[batch][row][k] b[batch][k][n], k in order
    integer    the same of 8-bit numbers less their zero points, in int32

A tile is one row of one product of the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.plain.places import offset_of
from engine.kernels.simd.arithmetic import fused_multiply_add, splat_f32
from engine.kernels.simd.memory import load_f32, read_f32, read_s8, read_u8, store_f32, write_f32, write_i32

MATMUL = np.dtype(
    [
        *((name, np.int64) for name in ("a", "b", "y", "rows", "n", "k", "axes", "places")),
        # addresses of the zero points' bytes, or 0; b may have one for each column
        *((name, np.int64) for name in ("a_zero", "b_zero", "b_zero_stride")),
    ],
    align=True,
)
matmul_of = record(MATMUL)
LANES = 16


@inner
def _vector(a_row: int, b: int, y: int, k: int, b_row: int) -> None:
    total = splat_f32(np.float32(0))
    for i in range(k):
        total = fused_multiply_add(splat_f32(read_f32(a_row + 4 * i)), load_f32(b + i * b_row), total)
    store_f32(total, y)


@inner
def _four_vectors(a_row: int, b: int, y: int, k: int, b_row: int) -> None:
    # Four sums in flight: one alone would wait out the latency of the multiply-add each time.
    first = second = third = fourth = splat_f32(np.float32(0))
    for i in range(k):
        x, at = splat_f32(read_f32(a_row + 4 * i)), b + i * b_row
        first = fused_multiply_add(x, load_f32(at), first)
        second = fused_multiply_add(x, load_f32(at + 64), second)
        third = fused_multiply_add(x, load_f32(at + 128), third)
        fourth = fused_multiply_add(x, load_f32(at + 192), fourth)
    store_f32(first, y)
    store_f32(second, y + 64)
    store_f32(third, y + 128)
    store_f32(fourth, y + 192)


@inner
def _place(m: Any, tile: int) -> Any:
    """(row of a, b, row of y) in elements of the product that this tile belongs to."""
    batch = tile // m.rows
    row = tile - batch * m.rows
    a = offset_of(m.places, m.axes, 0, batch) + row * m.k
    return a, offset_of(m.places, m.axes, 1, batch), tile * m.n


@kernel("matmul_f32", f"1x{4 * LANES}")
def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Operands 0 and 1 of the table of places are a and b, strides in elements."""
    m = matmul_of(args)
    b_row = 4 * m.n
    for tile in range(tile_begin, tile_end):
        at_a, at_b, at_y = _place(m, tile)
        a, b, y = m.a + 4 * at_a, m.b + 4 * at_b, m.y + 4 * at_y
        fours = m.n // (4 * LANES) * 4 * LANES
        for j in range(0, fours, 4 * LANES):
            _four_vectors(a, b + 4 * j, y + 4 * j, m.k, b_row)
        whole = m.n // LANES * LANES
        for j in range(fours, whole, LANES):
            _vector(a, b + 4 * j, y + 4 * j, m.k, b_row)
        for j in range(whole, m.n):
            total = np.float32(0)
            for i in range(m.k):
                total += read_f32(a + 4 * i) * read_f32(b + i * b_row + 4 * j)
            write_f32(total, y + 4 * j)


def _integer_kernel(a_kind: str, b_kind: str) -> Kernel:
    reads = {"u8": read_u8, "s8": read_s8}
    read_a, read_b = reads[a_kind], reads[b_kind]

    @kernel(f"matmul_{a_kind}{b_kind}s32", "1x1")
    def multiply_integers(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        m = matmul_of(args)
        a_zero = read_a(m.a_zero) if m.a_zero != 0 else 0
        for tile in range(tile_begin, tile_end):
            at_a, at_b, at_y = _place(m, tile)
            a, b, y = m.a + at_a, m.b + at_b, m.y + 4 * at_y
            for j in range(m.n):
                b_zero = read_b(m.b_zero + j * m.b_zero_stride) if m.b_zero != 0 else 0
                total = 0
                for i in range(m.k):
                    total += (read_a(a + i) - a_zero) * (read_b(b + i * m.n + j) - b_zero)
                write_i32(total, y + 4 * j)

    return multiply_integers


INTEGER_KERNELS = {
    (np.dtype(a), np.dtype(b)): _integer_kernel(a_kind, b_kind)
    for a, a_kind in ((np.uint8, "u8"), (np.int8, "s8"))
    for b, b_kind in ((np.uint8, "u8"), (np.int8, "s8"))
}
