"""The epilogues of requantise.py where nobody reads quads: results are stored as rows of bytes (see movement/bytes.py).

    64 lanes    a row at a time, its four vectors side by side, in pair order
    32, 16      four rows at a time, one after the other

Sparse products read such rows, and hand on all lanes of a panel at once: only behind them do these finishers run.
The record's y and y_panel are those of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.epilogue import epilogue_of, places_of
from engine.kernels.products.requantise import (
    BIASED,
    CURVED,
    CURVED_BIASED,
    PLAIN,
    REQUANTISE,
    bias_reader,
    biased,
    constants_of,
    curved,
    curved_biased,
    plain,
    scale_of,
)
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.memory import load_i32, store_i32
from engine.kernels.simd.narrow import (
    first_two_rows,
    last_two_rows,
    quads_of_pixels,
    row_of_lanes,
    rows_of_groups,
)

_VECTOR, _QUAD = 64, 4
_FORMULAS = {PLAIN: plain, BIASED: biased, CURVED: curved, CURVED_BIASED: curved_biased}


def _row_by_row(value: Callable[..., Any], bias_of: Callable[..., Any]) -> Callable[..., None]:
    @inner
    def rows_of(e: Any, x: int, row: int, rows: int, y: int) -> None:
        c, none = constants_of(e), splat_i32(0)
        for r in range(row, row + rows):
            scale, bias = scale_of(e, r), bias_of(e, r)
            lanes = row_of_lanes(
                value(c, load_i32(x), scale, bias, none),
                value(c, load_i32(x + _VECTOR), scale, bias, none),
                value(c, load_i32(x + 2 * _VECTOR), scale, bias, none),
                value(c, load_i32(x + 3 * _VECTOR), scale, bias, none),
                c.zero_words,
                c.least,
                c.most,
            )
            store_i32(lanes, y)
            x += 4 * _VECTOR
            y += _VECTOR

    return rows_of


def _by_fours(value: Callable[..., Any], bias_of: Callable[..., Any], width: int) -> Callable[..., None]:
    stride = 4 * width

    @inner
    def four_of(c: Any, e: Any, x: int, row: int) -> Any:
        none = splat_i32(0)
        return quads_of_pixels(
            value(c, load_i32(x), scale_of(e, row), bias_of(e, row), none),
            value(c, load_i32(x + stride), scale_of(e, row + 1), bias_of(e, row + 1), none),
            value(c, load_i32(x + 2 * stride), scale_of(e, row + 2), bias_of(e, row + 2), none),
            value(c, load_i32(x + 3 * stride), scale_of(e, row + 3), bias_of(e, row + 3), none),
            c.zero_words,
            c.least,
            c.most,
        )

    @inner
    def rows_of(e: Any, x: int, row: int, rows: int, y: int) -> None:
        c = constants_of(e)
        for r in range(row, row + rows, _QUAD):
            first = four_of(c, e, x, r)
            if width == 16:
                store_i32(rows_of_groups(first), y)
            else:
                second = four_of(c, e, x + _VECTOR, r)
                store_i32(first_two_rows(first, second), y)
                store_i32(last_two_rows(first, second), y + _VECTOR)
            x += _QUAD * stride
            y += stride

    return rows_of


def _finisher(formula: str, width: int) -> Kernel:
    value, bias_of = _FORMULAS[formula], bias_reader(biased=formula in (BIASED, CURVED_BIASED))
    rows_of = _row_by_row(value, bias_of) if width == 64 else _by_fours(value, bias_of, width)

    @kernel("requantise", f"{formula}__bytes{width}", arguments=7)
    def finisher(address: int, sums: int, stride: int, row: int, rows: int, lane: int, lanes: int) -> None:
        e = epilogue_of(address)
        y, _ = places_of(e, lane)
        rows_of(e, sums, row, least(rows, e.m - row), y + row * width)

    return finisher


# By the finisher that stores the same as quads, and the width of panels.
FINISHERS_TO_BYTES: Mapping[tuple[Kernel, int], Kernel] = MappingProxyType(
    {
        (REQUANTISE[formula], width): _finisher(formula, width)
        for formula in (_FORMULAS if REQUANTISE else ())
        for width in (16, 32, 64)
    }
)
