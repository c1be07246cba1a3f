"""What a tile product does with its registers: sums in and out, and the products of one k tile.

one plane      B, then A: four products
six products   x = hi + mid + lo and w = hi + mid + lo, each a bfloat16; kept are the products of
               2**-16 and more of the largest. The largest comes last, so that the others are not
               rounded to its size; every B tile is loaded once, and two A tiles serve two B tiles:
               B lo:  A hi     B mid:  A hi (still there), A mid     B hi:  A mid (still there), A lo, A hi
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.jit import inner
from engine.kernels.simd.tiles import TILE_BYTES, TileUnit, tile_unit

Code = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class TileSteps:
    """Operations on 32 rows by `columns` columns of sixteen lanes; addresses and strides are bytes.

    begin(memory, start)               integer sums from the two tiles at `start`, others from zero
    resume(memory, sums, stride)       sums from 32 rows
    save(memory, sums, stride)
    step(memory, w, x, gap, stride)    add one k tile's products: A tiles at w as [plane][half],
                                       B tiles at x and x + gap, planes TILE_BYTES apart
    """

    unit: TileUnit
    columns: int
    begin: Code
    resume: Code
    save: Code
    step: Code


def _begin(unit: TileUnit, columns: int, *, integer: bool) -> Code:
    zero0, zero1, zero2, zero3 = (unit.zero(tile) for tile in range(4))
    load0, load1, load2, load3 = (unit.load(tile) for tile in range(4))

    @inner
    def begin_integer(memory: int, start: int) -> None:
        load0(memory, start, 64)
        load2(memory, start + TILE_BYTES, 64)
        if columns == 2:
            load1(memory, start, 64)
            load3(memory, start + TILE_BYTES, 64)

    @inner
    def begin_float(memory: int, start: int) -> None:
        zero0(memory)
        zero2(memory)
        if columns == 2:
            zero1(memory)
            zero3(memory)

    return begin_integer if integer else begin_float


def _transfer(move: Callable[[int], Code], columns: int) -> Code:
    """Load or store all sums."""
    move0, move1, move2, move3 = (move(tile) for tile in range(4))

    @inner
    def transfer(memory: int, sums: int, stride: int) -> None:
        move0(memory, sums, stride)
        move2(memory, sums + 16 * stride, stride)
        if columns == 2:
            move1(memory, sums + 64, stride)
            move3(memory, sums + 16 * stride + 64, stride)

    return transfer


def _operands(unit: TileUnit, columns: int) -> tuple[Code, Code, Code]:
    """Load both B tiles; load both A tiles; multiply what is loaded."""
    load4, load5, stream6, stream7 = unit.load(4), unit.load(5), unit.stream(6), unit.stream(7)
    multiply0, multiply1 = unit.multiply(0, 4, 6), unit.multiply(1, 4, 7)
    multiply2, multiply3 = unit.multiply(2, 5, 6), unit.multiply(3, 5, 7)

    @inner
    def load_b(memory: int, x: int, gap: int, stride: int) -> None:
        stream6(memory, x, stride)
        if columns == 2:
            stream7(memory, x + gap, stride)

    @inner
    def load_a(memory: int, w: int) -> None:
        load4(memory, w, 64)
        load5(memory, w + TILE_BYTES, 64)

    @inner
    def multiply(memory: int) -> None:
        multiply0(memory)
        multiply2(memory)
        if columns == 2:
            multiply1(memory)
            multiply3(memory)

    return load_b, load_a, multiply


def _steps(unit: TileUnit, planes: int, columns: int) -> Code:
    load_b, load_a, multiply = _operands(unit, columns)
    plane = 2 * TILE_BYTES

    @inner
    def one_product(memory: int, w: int, x: int, gap: int, stride: int) -> None:
        load_b(memory, x, gap, stride)
        load_a(memory, w)
        multiply(memory)

    @inner
    def six_products(memory: int, w: int, x: int, gap: int, stride: int) -> None:
        load_b(memory, x + 2 * TILE_BYTES, gap, stride)
        load_a(memory, w)
        multiply(memory)
        load_b(memory, x + TILE_BYTES, gap, stride)
        multiply(memory)
        load_a(memory, w + plane)
        multiply(memory)
        load_b(memory, x, gap, stride)
        multiply(memory)
        load_a(memory, w + 2 * plane)
        multiply(memory)
        load_a(memory, w)
        multiply(memory)

    return one_product if planes == 1 else six_products


def tile_steps(kind: str, planes: int, columns: int) -> TileSteps:
    """Operations for `kind` "u8s8" or "bf16" with 1 or 3 planes, on 1 or 2 columns."""
    unit = tile_unit(kind)
    return TileSteps(
        unit=unit,
        columns=columns,
        begin=_begin(unit, columns, integer=kind == "u8s8"),
        resume=_transfer(unit.load, columns),
        save=_transfer(unit.store, columns),
        step=_steps(unit, planes, columns),
    )
