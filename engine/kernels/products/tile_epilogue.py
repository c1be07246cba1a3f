"""The epilogue of tile products: four rows of a column at a time, between the products of the next block.

Tiles are multiplied beside the vector units. Done at the end of a block of 32 x 32 sums, storing them as bytes was
measured to take 95 ns of a block's 240 (k 768); in small units during the products of the next, 19 ns.

    block    sums as tiles [half][column][16 rows][64 bytes]         unit    4 rows of one tile, 4 units a tile
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import inner, record
from engine.kernels.bf16_planes.split import pair_of
from engine.kernels.products.arguments import product_of
from engine.kernels.products.epilogue import (
    STORE_F32,
    STORE_QUANTIZED,
    addend_row,
    epilogue_of,
    factor_of,
    program_of,
    quantized,
    row_bias,
    row_scale,
    value_of,
)
from engine.kernels.simd.arithmetic import bits_of, from_bits, least, splat_f32, splat_i32, to_float
from engine.kernels.simd.memory import load_f32, read_i32, store_f32, store_i32
from engine.kernels.simd.tiles import ROW_BYTES, TILE_BYTES, TILE_ROWS

# The block whose sums wait: one such record in scratch.
PENDING = np.dtype(
    [
        ("units", np.int64),  # 0: none waits
        ("sums", np.int64),
        ("row", np.int64),  # first of its 32 rows
        ("y", np.int64),  # row 0 of the result, the block's first lane
        ("residual", np.int64),
        ("planes", np.int64),  # row 0 of the plane of bfloat16, the block's first vector of lanes
    ],
    align=True,
)
PENDING_BYTES = 64
pending_of = record(PENDING)


@inner
def wait(args: int, pending: int, sums: int, units: int, row: int, panel: int, lane_bytes: int) -> None:
    """Let this block's sums wait for `finish_units`."""
    e, block = epilogue_of(product_of(args).epilogue), pending_of(pending)
    block.units = units
    block.sums = sums
    block.row = row
    block.y = e.y + panel * e.y_panel + lane_bytes
    block.residual = e.residual + panel * e.residual_panel + lane_bytes
    block.planes = e.planes + (panel * e.row_bytes + lane_bytes) // 64 * e.planes_vector


@inner
def _store_planes(sums: int, row: int, rows: int, planes: int) -> None:
    """Pairs of finished rows of one column, from the sums' place, as bfloat16."""
    for r in range(0, rows, 2):
        pair = (row + r) // 2
        values = pair_of(load_f32(sums + r * ROW_BYTES), load_f32(sums + (r + 1) * ROW_BYTES))
        store_i32(values, planes + pair // 16 * TILE_BYTES + pair % 16 * 64)


def unit_finisher(columns: int, *, integer: bool) -> Callable[..., None]:
    """The inner function (args, pending, first unit, last unit + 1) for blocks of so many columns of sixteen lanes.

    integer    sums are int32 and begin at `start`
    """

    @inner
    def sums_of(a: Any, sums: int, row: int) -> Any:
        x = load_f32(sums)
        return from_bits(bits_of(x) + splat_i32(read_i32(a.start + 4 * row))) if integer else x

    @inner
    def finish_units(args: int, pending: int, begin: int, end: int) -> None:
        a, block = product_of(args), pending_of(pending)
        e = epilogue_of(a.epilogue)
        p = program_of(e)
        step, zero_point, factor = splat_f32(e.step), splat_i32(e.zero_point), splat_f32(factor_of(p))
        for unit in range(begin, least(end, block.units)):
            tile, group = unit >> 2, unit & 3
            lane, row = (tile & columns - 1) * 64, block.row + (tile >> columns - 1) * TILE_ROWS + 4 * group
            rows, sums = least(4, e.m - row), block.sums + tile * TILE_BYTES + group * 4 * ROW_BYTES
            if e.store == STORE_QUANTIZED:
                quad = splat_i32(0)
                # The last of four first: each moves up as the one before it arrives.
                for r in range(rows - 1, -1, -1):
                    addend = addend_row(p, block.residual + lane, row + r, e.row_bytes)
                    x, scale = sums_of(a, sums + r * ROW_BYTES, row + r), row_scale(p, row + r)
                    x = value_of(p, x, row + r, scale, row_bias(p, row + r), addend)
                    quad = (quad << splat_i32(8)) | quantized(x, step, zero_point)
                if rows > 0:
                    store_i32(quad, block.y + (row >> 2) * e.row_bytes + lane)
            else:
                for r in range(rows):
                    addend = addend_row(p, block.residual + lane, row + r, e.row_bytes)
                    x, scale = sums_of(a, sums + r * ROW_BYTES, row + r), row_scale(p, row + r)
                    x = value_of(p, x, row + r, scale, row_bias(p, row + r), addend)
                    if e.store != STORE_F32:
                        x = to_float(quantized(x, step, zero_point) - zero_point) * factor
                    if e.y != 0:
                        store_f32(x, block.y + (row + r) * e.row_bytes + lane)
                    if e.planes != 0:
                        store_f32(x, sums + r * ROW_BYTES)
                if e.planes != 0:
                    _store_planes(sums, row, rows, block.planes + lane // 64 * e.planes_vector)

    return finish_units
