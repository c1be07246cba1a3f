"""Piecewise polynomials: the coefficients of each piece stand in registers and are picked lane by lane.

    f(t), 0 <= t <= 31 h        piece i = round(t / h), r = t - i h, f = (((c4[i] r + c3[i]) r + c2[i]) r + c1[i]) r + c0[i]

One vpermi2ps picks from 32 numbers; elsewhere the lookup is spelled out lane by lane, and slow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.jit import F32, I32, active_level, inner, instruction, ir
from engine.jit.instruction import call
from engine.kernels.simd.arithmetic import MAGIC, bits_of, fused_multiply_add, minimum, splat_f32

PIECES, DEGREE = 32, 4
HAS_LOOKUP = active_level().name.startswith(("avx512", "amx"))

_WORD = ir.IntType(32)


def _pick(b: ir.IRBuilder, low: Any, high: Any, index: Any) -> Any:
    if HAS_LOOKUP:
        return call(b, "llvm.x86.avx512.vpermi2var.ps.512", F32.llvm_type, [low, index, high])
    result: Any = ir.Constant(F32.llvm_type, ir.Undefined)
    for lane in range(16):
        place = ir.Constant(_WORD, lane)
        at = b.and_(b.extract_element(index, place), ir.Constant(_WORD, PIECES - 1))
        inside = b.and_(at, ir.Constant(_WORD, 15))
        upper = b.icmp_unsigned(">=", at, ir.Constant(_WORD, 16))
        value = b.select(upper, b.extract_element(high, inside), b.extract_element(low, inside))
        result = b.insert_element(result, value, place)
    return result


# (low, high, index): number index % 32 of both vectors in each lane.
pick_of_two = instruction(F32, (F32, F32, I32), _pick)


def lookup(table: NDArray[np.float32]) -> Callable[..., Any]:
    """The instruction that gives table[index % 32] in each lane, for 32 numbers known at compile time."""
    numbers = [float(number) for number in table]
    low, high = (ir.Constant(F32.llvm_type, half) for half in (numbers[:16], numbers[16:]))
    return instruction(F32, (I32,), lambda b, index: _pick(b, low, high, index))


def fit_pieces(function: Callable[[float], float], piece: float, degree: int = DEGREE) -> NDArray[np.float32]:
    """Coefficients [degree + 1][PIECES], constant first; the last piece is 0.

    Interpolation in Chebyshev nodes. Piece 0 begins at 0 and keeps f(0) exactly.
    """
    centres = piece * np.arange(PIECES - 1)
    low, high = np.maximum(centres - piece / 2, 0), centres + piece / 2
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    t = (low + high)[:, None] / 2 + (high - low)[:, None] / 2 * nodes
    values = np.array([[function(at) for at in row] for row in t.tolist()])
    powers = ((t - centres[:, None]) / piece)[..., None] ** np.arange(degree + 1)
    found = np.linalg.solve(powers, values[..., None])[..., 0] / piece ** np.arange(degree + 1)
    pieces = np.zeros((degree + 1, PIECES), np.float32)
    pieces[:, :-1] = found.T
    pieces[0, 0] = function(0.0)
    return pieces


def piecewise(function: Callable[[float], float], piece: float) -> Callable[..., Any]:
    """The inner function f(t) of F32 vectors, for t >= 0; 0 from 30.5 pieces on.

    piece   length h of a piece, a float32 with few bits, so that r is exact
    """
    constant, linear, square, cube, fourth = (lookup(row) for row in fit_pieces(function, piece))
    rate, last, back = np.float32(1 / piece), np.float32((PIECES - 1) * piece), np.float32(-piece)

    @inner
    def evaluate(t: Any) -> Any:
        bounded = minimum(t, splat_f32(last))
        shifted = fused_multiply_add(bounded, splat_f32(rate), splat_f32(MAGIC))
        index = bits_of(shifted)
        r = fused_multiply_add(shifted - splat_f32(MAGIC), splat_f32(back), bounded)
        p = fused_multiply_add(fourth(index), r, cube(index))
        p = fused_multiply_add(p, r, square(index))
        p = fused_multiply_add(p, r, linear(index))
        return fused_multiply_add(p, r, constant(index))

    return evaluate
