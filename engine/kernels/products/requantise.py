"""The epilogue of most integer products in images and encoders, where it takes as long as a product of few features.

    sums -> float32, * scale[row]                                            PLAIN
         -> the same, + bias[row]                                            BIASED
         -> the same as PLAIN, rounded to 8 bits and back, + residual bytes  SUMMED
         -> the same as PLAIN or BIASED, through a curve that counts in steps    CURVED, CURVED_BIASED
      -> u8 quads, within the bytes that an activation none, relu or clip leaves

The numbers are those of `epilogue.value_of` and `quantized`, to the bit, with fewer steps: the lowering
(`lowering/ops/_requantise.py`) has made sure that no quotient leaves an int32, so that saturating packs bound it; an
activation that only bounds its numbers bounds bytes as well, as rounding keeps their order. Finishers of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.curve import Curve, bent, load_curve
from engine.kernels.products.epilogue import divided, epilogue_of, places_of
from engine.kernels.simd.arithmetic import least, maximum, minimum, round_even, splat_f32, splat_i32, to_float
from engine.kernels.simd.memory import load_i32, read_f32, store_i32
from engine.kernels.simd.narrow import (
    HAS_NARROWING,
    first_byte,
    fourth_byte,
    nearest,
    quads_of_rows,
    second_byte,
    third_byte,
)

# The formulas.
PLAIN, BIASED, SUMMED, CURVED, CURVED_BIASED = "plain", "biased", "summed", "curved", "curved_biased"


class _Constants(NamedTuple):
    """What is the same for all rows, in every lane."""

    step: Any
    inverse: Any
    zero_words: Any
    least: Any
    most: Any
    product_step: Any
    product_inverse: Any
    product_low: Any
    product_high: Any
    product_scale: Any
    residual_zero: Any
    residual_step: Any
    rate: Any
    curve: Curve


@inner
def constants_of(e: Any) -> _Constants:
    """Those of an epilogue's record."""
    return _Constants(
        splat_f32(e.step),
        splat_f32(e.inverse),
        splat_i32(e.zero_point * 0x10001),
        splat_i32(e.least * 0x01010101),
        splat_i32(e.most * 0x01010101),
        splat_f32(e.product_step),
        splat_f32(e.product_inverse),
        to_float(splat_i32(-e.product_zero)),
        to_float(splat_i32(255 - e.product_zero)),
        splat_f32(e.product_scale),
        splat_i32(e.residual_zero),
        splat_f32(e.residual_step),
        splat_f32(e.first_number),
        load_curve(e.curve),
    )


@inner
def plain(c: Any, x: Any, scale: Any, _bias: Any, _byte: Any) -> Any:
    """Sums of one scale, as whole numbers around 0."""
    return nearest(divided(to_float(x) * scale, c.step, c.inverse))


@inner
def biased(c: Any, x: Any, scale: Any, bias: Any, _byte: Any) -> Any:
    """The same with a bias."""
    return nearest(divided(to_float(x) * scale + bias, c.step, c.inverse))


@inner
def curved(c: Any, x: Any, scale: Any, _bias: Any, _byte: Any) -> Any:
    """Sums of one scale, in pieces of a curve, through it."""
    return nearest(bent(c.curve, c.rate, to_float(x) * scale))


@inner
def curved_biased(c: Any, x: Any, scale: Any, bias: Any, _byte: Any) -> Any:
    """The same with a bias."""
    return nearest(bent(c.curve, c.rate, to_float(x) * scale + bias))


@inner
def _summed(c: Any, x: Any, scale: Any, _bias: Any, byte: Any) -> Any:
    product = round_even(divided(to_float(x) * scale, c.product_step, c.product_inverse))
    product = minimum(maximum(product, c.product_low), c.product_high) * c.product_scale
    addend = to_float(byte - c.residual_zero) * c.residual_step
    return nearest(divided(product + addend, c.step, c.inverse))


@inner
def scale_of(e: Any, row: int) -> Any:
    """What sums of a row are multiplied by."""
    return splat_f32(read_f32(e.scale + row * e.scale_stride))


def bias_reader(*, biased: bool) -> Callable[..., Any]:
    """The inner function (epilogue, row) that gives what is added to a row."""

    @inner
    def bias_of(e: Any, row: int) -> Any:
        return splat_f32(read_f32(e.bias + row * 4) if biased else np.float32(0))

    return bias_of


def _rows_of(value: Callable[..., Any], *, biased: bool = False, summed: bool = False) -> Callable[..., None]:
    """What finishes rows, four at a time, by a formula for each number."""
    bias_of = bias_reader(biased=biased)

    @inner
    def rows_of(e: Any, sums: int, stride: int, row: int, rows: int, residual: int, y: int, end: int) -> None:
        c = constants_of(e)
        for first in range(row, row + rows, 4):
            s0, s1, s2, s3 = (
                scale_of(e, first),
                scale_of(e, first + 1),
                scale_of(e, first + 2),
                scale_of(e, first + 3),
            )
            b0, b1, b2, b3 = (
                bias_of(e, first),
                bias_of(e, first + 1),
                bias_of(e, first + 2),
                bias_of(e, first + 3),
            )
            for lane in range(0, end, 64):
                x, q = sums + lane, load_i32(residual + lane) if summed else splat_i32(0)
                quads = quads_of_rows(
                    value(c, load_i32(x), s0, b0, first_byte(q)),
                    value(c, load_i32(x + stride), s1, b1, second_byte(q)),
                    value(c, load_i32(x + 2 * stride), s2, b2, third_byte(q)),
                    value(c, load_i32(x + 3 * stride), s3, b3, fourth_byte(q)),
                    c.zero_words,
                    c.least,
                    c.most,
                )
                store_i32(quads, y + lane)
            sums += 4 * stride
            residual += e.row_bytes
            y += e.row_bytes

    return rows_of


def _finisher(name: str, rows_of: Callable[..., None]) -> Kernel:
    @kernel("requantise", name, arguments=7)
    def finisher(address: int, sums: int, stride: int, row: int, rows: int, lane: int, lanes: int) -> None:
        e = epilogue_of(address)
        y, residual = places_of(e, lane)
        quads = row // 4 * e.row_bytes
        rows_of(e, sums, stride, row, least(rows, e.m - row), residual + quads, y + quads, 4 * lanes)

    return finisher


_FORMULAS = {
    PLAIN: _rows_of(plain),
    BIASED: _rows_of(biased, biased=True),
    SUMMED: _rows_of(_summed, summed=True),
    CURVED: _rows_of(curved),
    CURVED_BIASED: _rows_of(curved_biased, biased=True),
}
# Finishers (see `finishers`) of int32 sums whose rows are whole fours, by formula; none where the machine lacks the packs.
REQUANTISE = {
    formula: _finisher(formula, rows_of) for formula, rows_of in (_FORMULAS.items() if HAS_NARROWING else ())
}
