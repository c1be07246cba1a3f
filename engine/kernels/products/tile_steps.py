"""What a tile product does with its registers: sums in and out, and the products of one k tile.

A step of k is its first loads, and then its products; what the vector units have to do goes between the two.

one plane      all four tiles first
six products   x = hi + mid + lo and w = hi + mid + lo, each a bfloat16; kept are the products of
               2**-16 and more of the largest. The largest comes last, so that the others are not
               rounded to its size; every B tile is loaded once, and two A tiles serve two B tiles:
               B lo:  A hi     B mid:  A hi (still there), A mid     B hi:  A mid (still there), A lo, A hi
               The first loads are B lo and A hi.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.jit import inner
from engine.kernels.simd.tiles import ROW_BYTES, TILE_BYTES, TileUnit, tile_unit

Code = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class TileSteps:
    """Operations on 32 rows by `columns` columns of sixteen lanes; addresses and strides are bytes.

    begin(memory)                      sums of zero
    resume(memory, sums)               sums from tiles [half][column] at `sums`
    save(memory, sums)
    load(memory, w, x, gap, stride)    the first tiles of one k tile: A tiles at w as [plane][half],
                                       B tiles at x and x + gap, planes TILE_BYTES apart
    multiply(memory, w, x, gap, stride)    add its products
    """

    unit: TileUnit
    columns: int
    begin: Code
    resume: Code
    save: Code
    load: Code
    multiply: Code


def _begin(unit: TileUnit, columns: int) -> Code:
    zero0, zero1, zero2, zero3 = (unit.zero(tile) for tile in range(4))

    @inner
    def begin(memory: int) -> None:
        zero0(memory)
        zero2(memory)
        if columns == 2:
            zero1(memory)
            zero3(memory)

    return begin


def _transfer(move: Callable[[int], Code], columns: int) -> Code:
    """Load or store all sums."""
    move0, move1, move2, move3 = (move(tile) for tile in range(4))

    @inner
    def transfer(memory: int, sums: int) -> None:
        # In the order of the products: the first of them are there first.
        move0(memory, sums, ROW_BYTES)
        if columns == 2:
            move1(memory, sums + TILE_BYTES, ROW_BYTES)
        move2(memory, sums + columns * TILE_BYTES, ROW_BYTES)
        if columns == 2:
            move3(memory, sums + 3 * TILE_BYTES, ROW_BYTES)

    return transfer


def _one_product(unit: TileUnit, columns: int) -> tuple[Code, Code]:
    load4, load5, stream6, stream7 = unit.load(4), unit.load(5), unit.stream(6), unit.stream(7)
    multiply0, multiply1, multiply2, multiply3 = _products(unit)

    @inner
    def load(memory: int, w: int, x: int, gap: int, stride: int) -> None:
        stream6(memory, x, stride)
        load4(memory, w, ROW_BYTES)
        if columns == 2:
            stream7(memory, x + gap, stride)
        load5(memory, w + TILE_BYTES, ROW_BYTES)

    @inner
    def one_product(memory: int, w: int, x: int, gap: int, stride: int) -> None:
        multiply0(memory)
        if columns == 2:
            multiply1(memory)
        multiply2(memory)
        if columns == 2:
            multiply3(memory)

    return load, one_product


def _products(unit: TileUnit) -> tuple[Code, Code, Code, Code]:
    first, second = (
        (unit.multiply(0, 4, 6), unit.multiply(1, 4, 7)),
        (unit.multiply(2, 5, 6), unit.multiply(3, 5, 7)),
    )
    return (*first, *second)


def _operands(unit: TileUnit, columns: int) -> tuple[Code, Code, Code]:
    """Load both B tiles; load both A tiles; multiply what is loaded."""
    load4, load5, stream6, stream7 = unit.load(4), unit.load(5), unit.stream(6), unit.stream(7)
    multiply0, multiply1, multiply2, multiply3 = _products(unit)

    @inner
    def load_b(memory: int, x: int, gap: int, stride: int) -> None:
        stream6(memory, x, stride)
        if columns == 2:
            stream7(memory, x + gap, stride)

    @inner
    def load_a(memory: int, w: int) -> None:
        load4(memory, w, ROW_BYTES)
        load5(memory, w + TILE_BYTES, ROW_BYTES)

    @inner
    def multiply(memory: int) -> None:
        multiply0(memory)
        multiply2(memory)
        if columns == 2:
            multiply1(memory)
            multiply3(memory)

    return load_b, load_a, multiply


def _six_products(unit: TileUnit, columns: int) -> tuple[Code, Code]:
    load_b, load_a, multiply = _operands(unit, columns)
    plane = 2 * TILE_BYTES

    @inner
    def load(memory: int, w: int, x: int, gap: int, stride: int) -> None:
        load_b(memory, x + 2 * TILE_BYTES, gap, stride)
        load_a(memory, w)

    @inner
    def six_products(memory: int, w: int, x: int, gap: int, stride: int) -> None:
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

    return load, six_products


def tile_steps(kind: str, planes: int, columns: int) -> TileSteps:
    """Operations for `kind` "u8s8" or "bf16" with 1 or 3 planes, on 1 or 2 columns."""
    unit = tile_unit(kind)
    load, multiply = (_one_product if planes == 1 else _six_products)(unit, columns)
    return TileSteps(
        unit=unit,
        columns=columns,
        begin=_begin(unit, columns),
        resume=_transfer(unit.load, columns),
        save=_transfer(unit.store, columns),
        load=load,
        multiply=multiply,
    )
