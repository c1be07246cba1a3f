"""The epilogue of tile products: four rows of a column at a time, between the products of the next block.

Tiles are multiplied beside the vector units. Done at the end of a block of 32 x 32 sums, storing them as bytes was
measured to take 95 ns of a block's 240 (k 768); in small units during the products of the next, 19 ns.
Units are spread over all steps of that block, and lie between a step's loads and its products: a CPU that looks
256 instructions ahead then still finds the next loads while it waits for a product.

    block    sums as tiles [half][column][16 rows][64 bytes]         unit    4 rows of one tile, 4 units a tile
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from engine.jit import Kernel, call_by_address, inner, kernel, record
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.arguments import product_of
from engine.kernels.products.epilogue import (
    STORE_F32,
    STORE_QUANTIZED,
    Program,
    addend_row,
    epilogue_of,
    factor_of,
    known_program,
    program_of,
    quantized,
    store_bf16,
    value_of,
)
from engine.kernels.products.finishers import Table, finisher_table
from engine.kernels.simd.arithmetic import bits_of, from_bits, least, splat_f32, splat_i32, to_float
from engine.kernels.simd.memory import load_f32, read_f32, read_i32, store_f32, store_i32
from engine.kernels.simd.narrow import nearest, quads_of_rows
from engine.kernels.simd.tiles import ROW_BYTES, TILE_BYTES, TILE_ROWS

# Its results are whole numbers of steps but for the rounding, and fit an int32.
_CURVE = ACTIVATIONS["curve"]

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
        ("plain", np.int64),  # what it is stored as, if by a plain program; else -1
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
    p, block.plain = program_of(e), -1
    if _is_plain(e, p) and _is_whole(e, block):
        block.plain = p.store


class _Places(NamedTuple):
    """Addresses of what the program reads for a row."""

    start: int
    scale: int
    bias: int
    residual: int


@inner
def _is_common(p: Any) -> bool:
    """Whether a program rounds nothing on the way and adds no bytes."""
    none = np.float32(0)
    common: bool = p.product_step == none and p.summed_step == none and p.residual_step == none
    return common


@inner
def _is_whole(e: Any, block: Any) -> bool:
    """Whether all rows of a block are rows of the result."""
    whole: bool = block.row + 2 * TILE_ROWS <= e.m
    return whole


@inner
def _is_plain(e: Any, p: Any) -> bool:
    """Whether a common program is no more than scale, bias and, in float32, a residual."""
    is_stored = p.store == STORE_F32 or (p.store == STORE_QUANTIZED and p.residual == 0)
    plain: bool = _is_common(p) and is_stored and p.activation == 0 and p.bias != 0 and e.planes == 0
    return plain


@inner
def _common(p: Any) -> Program:
    """A common program, with that known to the compiler."""
    none = np.float32(0)
    return Program(
        p.integer,
        p.scale,
        p.scale_stride,
        0,
        p.bias,
        p.residual,
        0,
        p.activation,
        p.store,
        p.zero_point,
        p.step,
        none,
        none,
        none,
        0,
        none,
        p.first_number,
        p.second_number,
        p.curve,
    )


@inner
def _places(a: Any, e: Any, p: Any, block: Any, lane: int, row: int, row_bytes: int) -> _Places:
    """Of a row, and of sixteen lanes that begin so many bytes into the block's."""
    scale, bias = p.scale + row * p.scale_stride, e.bias + 4 * row
    return _Places(a.start + 4 * row, scale, bias, addend_row(p, block.residual + lane, row, row_bytes))


@inner
def _value(p: Any, at: _Places, sums: int, row: int, r: int, row_bytes: int) -> Any:
    """Sums of the row r after `row` through the program, up to the activation; integers begin at `start`."""
    x, scale, bias = load_f32(sums + r * ROW_BYTES), splat_f32(np.float32(1)), splat_f32(np.float32(0))
    if p.integer != 0:
        x = from_bits(bits_of(x) + splat_i32(read_i32(at.start + 4 * r)))
        scale = splat_f32(read_f32(at.scale + r * p.scale_stride))
    if p.bias != 0:
        bias = splat_f32(read_f32(at.bias + 4 * r))
    # Four rows of bytes are one.
    addend = at.residual + (r if p.residual_step == np.float32(0) else 0) * row_bytes
    return value_of(p, x, row + r, scale, bias, addend)


@inner
def _finish_rows(a: Any, e: Any, p: Any, block: Any, lane: int, sums: int, row: int, rows: int) -> None:
    """Up to four rows, `row` and on, of sixteen lanes that begin so many bytes into the block's."""
    step, zero_point, factor = splat_f32(p.step), splat_i32(p.zero_point), splat_f32(factor_of(e))
    row_bytes, has_panel, has_planes = e.row_bytes, e.y != 0, e.planes != 0
    at = _places(a, e, p, block, lane, row, row_bytes)
    if p.store == STORE_QUANTIZED and p.activation == _CURVE and rows == 4:
        quad = quads_of_rows(
            nearest(_value(p, at, sums, row, 0, row_bytes)),
            nearest(_value(p, at, sums, row, 1, row_bytes)),
            nearest(_value(p, at, sums, row, 2, row_bytes)),
            nearest(_value(p, at, sums, row, 3, row_bytes)),
            splat_i32(p.zero_point * 0x10001),
            splat_i32(0),
            splat_i32(0xFFFFFFFF),
        )
        store_i32(quad, block.y + (row >> 2) * row_bytes + lane)
    elif p.store == STORE_QUANTIZED:
        quad = splat_i32(0)
        # The last of four first: each moves up as the one before it arrives.
        for r in range(rows - 1, -1, -1):
            x = _value(p, at, sums, row, r, row_bytes)
            quad = (quad << splat_i32(8)) | quantized(x, step, zero_point)
        store_i32(quad, block.y + (row >> 2) * row_bytes + lane)
    else:
        y = block.y + row * row_bytes + lane
        for r in range(rows):
            x = _value(p, at, sums, row, r, row_bytes)
            if p.store != STORE_F32:
                x = to_float(quantized(x, step, zero_point) - zero_point) * factor
            if has_panel:
                store_f32(x, y + r * row_bytes)
            if has_planes:
                store_f32(x, sums + r * ROW_BYTES)
        if has_planes:
            store_bf16(e, sums, ROW_BYTES, row, rows, block.vector + lane // 64, 64)


@inner
def _finish_unit(a: Any, e: Any, p: Any, block: Any, unit: int, whole: bool) -> None:
    """One unit; `whole`: all rows of the block are rows of the result."""
    tile, group, shift = unit >> 2, unit & 3, block.columns - 1
    lane, row = (tile & shift) * 64, block.row + (tile >> shift) * TILE_ROWS + 4 * group
    rows = 4 if whole else least(4, e.m - row)
    if rows > 0:
        _finish_rows(a, e, p, block, lane, block.sums + tile * TILE_BYTES + group * 4 * ROW_BYTES, row, rows)


@inner
def _finish_units(a: Any, e: Any, p: Any, block: Any, begin: int, end: int) -> None:
    last = least(end, block.units)
    # Four rows of a common program are one straight line, and little is prepared for it: a third of the instructions.
    if _is_common(p) and _is_whole(e, block):
        for unit in range(begin, last):
            _finish_unit(a, e, _common(p), block, unit, True)
    else:
        for unit in range(begin, last):
            _finish_unit(a, e, p, block, unit, False)


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
    if begin < end:
        _run(epilogue_of(product_of(args).epilogue).finisher, args, pending, begin, end)


@inner
def _plain_value(e: Any, at: _Places, sums: int, r: int, row_bytes: int) -> Any:
    """What a plain program makes of integer sums, rounded as `value_of` does: all it is, without what that could be."""
    total = bits_of(load_f32(sums + r * ROW_BYTES)) + splat_i32(read_i32(at.start + 4 * r))
    x = to_float(total) * splat_f32(read_f32(at.scale + r * e.scale_stride))
    x = x + splat_f32(read_f32(at.bias + 4 * r))
    if e.residual != 0:
        x = x + load_f32(at.residual + r * row_bytes)
    return x


@inner
def _finish_plainly(a: Any, e: Any, block: Any, unit: int) -> None:
    """One unit of a whole block by a plain program."""
    tile, group, shift = unit >> 2, unit & 3, block.columns - 1
    lane, row = (tile & shift) * 64, block.row + (tile >> shift) * TILE_ROWS + 4 * group
    sums, row_bytes = block.sums + tile * TILE_BYTES + group * 4 * ROW_BYTES, e.row_bytes
    scale, residual = e.scale + row * e.scale_stride, block.residual + lane + row * row_bytes
    at = _Places(a.start + 4 * row, scale, e.bias + 4 * row, residual)
    if block.plain == STORE_QUANTIZED:
        step, zero_point, quad = splat_f32(e.step), splat_i32(e.zero_point), splat_i32(0)
        for r in range(3, -1, -1):
            x = quantized(_plain_value(e, at, sums, r, row_bytes), step, zero_point)
            quad = (quad << splat_i32(8)) | x
        store_i32(quad, block.y + (row >> 2) * row_bytes + lane)
    else:
        for r in range(4):
            x = _plain_value(e, at, sums, r, row_bytes)
            store_f32(x, block.y + (row + r) * row_bytes + lane)


@inner
def _finish_here(args: int, pending: int, begin: int, end: int) -> None:
    a, block = product_of(args), pending_of(pending)
    e = epilogue_of(a.epilogue)
    # The form is read with each step: known before, it would double the loop of steps.
    if begin < end and block.plain >= 0:
        for unit in range(begin, end):
            _finish_plainly(a, e, block, unit)
    else:
        finish_units(args, pending, begin, end)


def unit_finisher(kind: str) -> Callable[..., Any]:
    """The inner function (args, pending, begin, end) that finishes units of the block that waits, between products.

    Calling a finisher takes about as many instructions as a unit. Products of bytes have a unit or two with each four
    products, and so a copy of the plainest programs; others have fewer, and call.
    """
    return _finish_here if kind == "u8s8" else finish_units


@inner
def units_a_step(pending: int, steps: int) -> int:
    """By how many units to go on with each of so many steps, in parts of 2**16, so that the last one finishes the block."""
    rate: int = (pending_of(pending).units * 65536 + steps - 1) // steps
    return rate
