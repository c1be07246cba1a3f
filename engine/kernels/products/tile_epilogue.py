"""The epilogue of tile products: four rows of a column at a time, between the products of the next block.

Tiles are multiplied beside the vector units. Done at the end of a block of 32 x 32 sums, storing them as bytes was
measured to take 95 ns of a block's 240 (k 768); in small units during the products of the next, 19 ns.

    block    sums as tiles [half][column][16 rows][64 bytes]         unit    4 rows of one tile, 4 units a tile
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import Kernel, call_by_address, inner, kernel, record
from engine.kernels.products.arguments import product_of
from engine.kernels.products.epilogue import (
    STORE_F32,
    STORE_QUANTIZED,
    addend_row,
    epilogue_of,
    factor_of,
    known_program,
    quantized,
    row_bias,
    row_scale,
    store_bf16,
    value_of,
)
from engine.kernels.products.finishers import Table, finisher_table
from engine.kernels.simd.arithmetic import bits_of, from_bits, least, splat_f32, splat_i32, to_float
from engine.kernels.simd.memory import load_f32, read_i32, store_f32, store_i32
from engine.kernels.simd.tiles import ROW_BYTES, TILE_BYTES, TILE_ROWS

# The block whose sums wait: one such record in scratch.
PENDING = np.dtype(
    [
        ("units", np.int64),  # 0: none waits
        ("columns", np.int64),  # of sixteen lanes: 1 or 2
        ("sums", np.int64),
        ("row", np.int64),  # first of its 32 rows
        ("y", np.int64),  # row 0 of the result, the block's first lane
        ("residual", np.int64),
        ("vector", np.int64),  # the block's first vector of lanes, counted over all panels
    ],
    align=True,
)
PENDING_BYTES = 64
# Of four rows each, in a block of 32 rows.
UNITS_OF_COLUMN = 8
pending_of = record(PENDING)
_run = call_by_address(4)


@inner
def wait(args: int, pending: int, sums: int, columns: int, row: int, panel: int, lane_bytes: int) -> None:
    """Let this block's sums wait for `finish_units`."""
    e, block = epilogue_of(product_of(args).epilogue), pending_of(pending)
    block.units = UNITS_OF_COLUMN * columns
    block.columns = columns
    block.sums = sums
    block.row = row
    block.y = e.y + panel * e.y_panel + lane_bytes
    block.residual = e.residual + panel * e.residual_panel + lane_bytes
    block.vector = (panel * e.row_bytes + lane_bytes) // 64


@inner
def _sums_of(a: Any, p: Any, sums: int, row: int) -> Any:
    """Sums of sixteen lanes; integers begin at `start`."""
    x = load_f32(sums)
    if p.integer != 0:
        x = from_bits(bits_of(x) + splat_i32(read_i32(a.start + 4 * row)))
    return x


@inner
def _finish_units(a: Any, e: Any, p: Any, block: Any, begin: int, end: int) -> None:
    step, zero_point, factor = splat_f32(e.step), splat_i32(e.zero_point), splat_f32(factor_of(e))
    columns = block.columns
    for unit in range(begin, least(end, block.units)):
        tile, group = unit >> 2, unit & 3
        lane, row = (tile & columns - 1) * 64, block.row + (tile >> columns - 1) * TILE_ROWS + 4 * group
        rows, sums = least(4, e.m - row), block.sums + tile * TILE_BYTES + group * 4 * ROW_BYTES
        if p.store == STORE_QUANTIZED:
            quad = splat_i32(0)
            # The last of four first: each moves up as the one before it arrives.
            for r in range(rows - 1, -1, -1):
                addend = addend_row(p, block.residual + lane, row + r, e.row_bytes)
                x, scale = _sums_of(a, p, sums + r * ROW_BYTES, row + r), row_scale(p, row + r)
                x = value_of(p, x, row + r, scale, row_bias(p, row + r), addend)
                quad = (quad << splat_i32(8)) | quantized(x, step, zero_point)
            if rows > 0:
                store_i32(quad, block.y + (row >> 2) * e.row_bytes + lane)
        else:
            for r in range(rows):
                addend = addend_row(p, block.residual + lane, row + r, e.row_bytes)
                x, scale = _sums_of(a, p, sums + r * ROW_BYTES, row + r), row_scale(p, row + r)
                x = value_of(p, x, row + r, scale, row_bias(p, row + r), addend)
                if p.store != STORE_F32:
                    x = to_float(quantized(x, step, zero_point) - zero_point) * factor
                if e.y != 0:
                    store_f32(x, block.y + (row + r) * e.row_bytes + lane)
                if e.planes != 0:
                    store_f32(x, sums + r * ROW_BYTES)
            if e.planes != 0:
                store_bf16(e, sums, ROW_BYTES, row, rows, block.vector + lane // 64, 64)


def _finisher(name: str, integer: int, store: int, activation: int) -> Kernel:
    @kernel("finish_units", name)
    def finisher(args: int, pending: int, begin: int, end: int) -> None:
        a = product_of(args)
        e = epilogue_of(a.epilogue)
        _finish_units(a, e, known_program(e, integer, activation, store), pending_of(pending), begin, end)

    return finisher


# Of blocks that wait.
TILE_FINISHERS: Table = finisher_table(_finisher)


@inner
def finish_units(args: int, pending: int, begin: int, end: int) -> None:
    """Finish these units of the block that waits, as far as it has them."""
    _run(epilogue_of(product_of(args).epilogue).finisher, args, pending, begin, end)
