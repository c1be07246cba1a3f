"""Arithmetic on vectors beyond the operators, each with the NumPy function that says what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import F32, I32, MASK, active_level, instruction, ir
from engine.jit.instruction import call
from engine.kernels.simd.memory import splat

# 1.5 * 2**23: a float32 of up to 2**22 added to it leaves its nearest whole number (half to even) in the low bits.
MAGIC, MAGIC_BITS = np.float32(12582912.0), 0x4B400000

_F32, _I32 = F32.llvm_type, I32.llvm_type
_WORD, _HALF = ir.IntType(32), ir.IntType(16)


def _unary(name: str) -> Callable[..., Any]:
    return lambda b, x: call(b, f"llvm.{name}.v16f32", _F32, [x])


def _pick(sign: str) -> Callable[..., Any]:
    # A compare and a select, as the x86 instructions do: the second operand where either is NaN.
    return lambda b, x, y: b.select(b.fcmp_ordered(sign, x, y), x, y)


def _past_nearest(b: ir.IRBuilder, x: Any) -> Any:
    if active_level().width != 64:
        return b.fsub(x, call(b, "llvm.rint.v16f32", _F32, [x]))
    to_whole, nothing, all_lanes = (
        ir.Constant(_WORD, 8),
        ir.Constant(_F32, [0.0] * 16),
        ir.Constant(_HALF, -1),
    )
    as_set = ir.Constant(_WORD, 4)
    return call(b, "llvm.x86.avx512.mask.reduce.ps.512", _F32, [x, to_whole, nothing, all_lanes, as_set])


fused_multiply_add = instruction(
    F32, (F32, F32, F32), lambda b, x, y, z: call(b, "llvm.fma.v16f32", _F32, [x, y, z])
)
minimum = instruction(F32, (F32, F32), _pick("<"))
maximum = instruction(F32, (F32, F32), _pick(">"))
square_root = instruction(F32, (F32,), _unary("sqrt"))
round_even = instruction(F32, (F32,), _unary("rint"))
negative = instruction(F32, (F32,), lambda b, x: b.fneg(x))
absolute = instruction(F32, (F32,), _unary("fabs"))
copy_sign = instruction(F32, (F32, F32), lambda b, x, y: call(b, "llvm.copysign.v16f32", _F32, [x, y]))
# x less the whole number next to it, half to even, exactly; x is finite.
past_nearest = instruction(F32, (F32,), _past_nearest)
to_float = instruction(F32, (I32,), lambda b, x: b.sitofp(x, _F32))
to_int = instruction(I32, (F32,), lambda b, x: b.fptosi(x, _I32))
bits_of = instruction(I32, (F32,), lambda b, x: b.bitcast(x, _I32))
from_bits = instruction(F32, (I32,), lambda b, x: b.bitcast(x, _F32))
splat_f32 = instruction(F32, ("f32",), lambda b, x: splat(b, x, _F32))
splat_i32 = instruction(I32, ("i64",), lambda b, x: splat(b, b.trunc(x, ir.IntType(32)), _I32))
lane_numbers = instruction(I32, (), lambda _: ir.Constant(_I32, list(range(16))))
select = instruction(F32, (MASK, F32, F32), lambda b, m, x, y: b.select(m, x, y))
# Lane j where bit j is set.
lanes_set = instruction(MASK, ("i64",), lambda b, x: b.bitcast(b.trunc(x, ir.IntType(16)), MASK.llvm_type))
least = instruction("i64", ("i64", "i64"), lambda b, x, y: b.select(b.icmp_signed("<", x, y), x, y))


@dataclass(frozen=True, slots=True)
class Meaning:
    """An instruction on F32 vectors and what it means: tests walk these over random and edge values."""

    name: str
    code: Callable[..., Any]
    arity: int
    numpy: Callable[..., Any]


def _second_where_nan(choose: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: np.where(np.isnan(x) | np.isnan(y), y, choose(x, y))


MEANINGS = (
    Meaning("minimum", minimum, 2, _second_where_nan(np.minimum)),
    Meaning("maximum", maximum, 2, _second_where_nan(np.maximum)),
    Meaning("square_root", square_root, 1, np.sqrt),
    Meaning("round_even", round_even, 1, np.rint),
    Meaning("negative", negative, 1, np.negative),
    Meaning("absolute", absolute, 1, np.abs),
    Meaning("copy_sign", copy_sign, 2, np.copysign),
)
