"""Products of pairs: two bfloat16 by two bfloat16 in each of sixteen lanes, added to a float32.

    pairs   lane l = numbers 2l (low half), 2l + 1 (high half)
    sum[l] += u[2l+1] * w[2l+1], then sum[l] += u[2l] * w[2l]

vdpbf16ps where the level has it: denormals count as zero, each of the two sums is rounded to even. Elsewhere a
bfloat16 is widened to the float32 with the same upper half. Numbers become bfloat16 half to even; there too,
denormals become zero only where the level has the instruction.
"""

from __future__ import annotations

from typing import Any

from engine.jit import F32, I32, active_features, active_level, instruction, ir
from engine.jit.instruction import call
from engine.kernels.simd.memory import at

HAS_PAIRS = active_level().width == 64 and "avx512bf16" in active_features()

_WORDS = I32.llvm_type
_SHORT = ir.IntType(16)
_SHORTS, _BOTH = ir.VectorType(_SHORT, 16), ir.VectorType(_SHORT, 32)
_ONES = 0x3F803F80
# The float32 from which on rounding would give infinity.
LARGE = 0x7F7F8000


def _number(value: int) -> ir.Constant:
    return ir.Constant(_WORDS, [value] * 16)


def _ones(builder: ir.IRBuilder) -> Any:
    return builder.bitcast(_number(_ONES), F32.llvm_type)


def pair_product(builder: ir.IRBuilder, total: Any, x: Any, w: Any) -> Any:
    """total + x . w, x and w float32 vectors whose bits are pairs."""
    pairs = [builder.bitcast(value, _WORDS) for value in (x, w)]
    if HAS_PAIRS:
        return call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", F32.llvm_type, [total, *pairs])
    low = [builder.bitcast(builder.shl(value, _number(16)), F32.llvm_type) for value in pairs]
    high = [builder.bitcast(builder.and_(value, _number(0xFFFF0000)), F32.llvm_type) for value in pairs]
    total = builder.fadd(total, builder.fmul(*high))
    return builder.fadd(total, builder.fmul(*low))


def _rounded(builder: ir.IRBuilder, x: Any) -> Any:
    """The bits of each number, rounded half to even where the upper half ends."""
    bits = builder.bitcast(x, _WORDS)
    odd = builder.and_(builder.lshr(bits, _number(16)), _number(1))
    rounded = builder.add(builder.add(bits, _number(0x7FFF)), odd)
    return builder.select(builder.fcmp_ordered("ord", x, x), rounded, builder.or_(bits, _number(1 << 22)))


def _pairs_of(builder: ir.IRBuilder, even: Any, odd: Any) -> Any:
    if HAS_PAIRS:
        both = call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", _BOTH, [odd, even])
        order = [half + lane for lane in range(16) for half in (0, 16)]
        index = ir.Constant(ir.VectorType(ir.IntType(32), 32), order)
        return builder.bitcast(builder.shuffle_vector(both, both, index), _WORDS)
    low = builder.lshr(_rounded(builder, even), _number(16))
    return builder.or_(low, builder.and_(_rounded(builder, odd), _number(0xFFFF0000)))


def _kept_finite(builder: ir.IRBuilder, x: Any) -> Any:
    """x; cut to bfloat16 where rounding would give infinity."""
    bits = builder.bitcast(x, _WORDS)
    size = builder.bitcast(builder.and_(bits, _number(0x7FFFFFFF)), F32.llvm_type)
    cut = builder.bitcast(builder.and_(bits, _number(0xFFFF0000)), F32.llvm_type)
    return builder.select(builder.fcmp_ordered(">=", size, builder.bitcast(_number(LARGE), x.type)), cut, x)


def finite_pairs(builder: ir.IRBuilder, even: Any, odd: Any) -> Any:
    """Both rounded to bfloat16 side by side, the first below; finite where they are."""
    return _pairs_of(builder, _kept_finite(builder, even), _kept_finite(builder, odd))


def _store_halves(builder: ir.IRBuilder, x: Any, address: Any) -> None:
    if HAS_PAIRS:
        halves = call(builder, "llvm.x86.avx512bf16.cvtneps2bf16.512", _SHORTS, [x])
    else:
        halves = builder.trunc(builder.lshr(_rounded(builder, x), _number(16)), _SHORTS)
    builder.store(halves, at(builder, address, _SHORTS), align=2)


# (even, odd) -> pairs of both, rounded to bfloat16.
rounded_pairs = instruction(I32, (F32, F32), _pairs_of)
# x, cut to bfloat16 where rounding would give infinity.
kept_finite = instruction(F32, (F32,), _kept_finite)
# Sixteen numbers rounded to bfloat16, 32 bytes.
store_halves = instruction("void", (F32, "i64"), _store_halves)
# The sum and the product of pairs, which are the bits of both vectors.
add_product_of_pairs = instruction(F32, (F32, F32, F32), pair_product)
# Pairs with their two numbers exchanged.
exchanged = instruction(I32, (I32,), lambda b, x: b.or_(b.shl(x, _number(16)), b.lshr(x, _number(16))))
# The sum and both numbers of each pair.
add_pairs = instruction(
    F32, (F32, I32), lambda b, total, x: pair_product(b, total, b.bitcast(x, F32.llvm_type), _ones(b))
)
