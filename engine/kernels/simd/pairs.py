"""Products of pairs: two bfloat16 by two bfloat16 in each of sixteen lanes, added to a float32.

    pairs   lane l = numbers 2l (low half), 2l + 1 (high half)
    sum[l] += u[2l] * w[2l] + u[2l+1] * w[2l+1]

vdpbf16ps where the level has it: denormals count as zero, sums are rounded to even. Elsewhere a bfloat16 is widened
to the float32 with the same upper half.
"""

from __future__ import annotations

from typing import Any

from engine.jit import F32, I32, active_features, active_level, ir
from engine.jit.instruction import call

HAS_PAIRS = active_level().width == 64 and "avx512bf16" in active_features()

_WORDS = I32.llvm_type


def _number(value: int) -> ir.Constant:
    return ir.Constant(_WORDS, [value] * 16)


def pair_product(builder: ir.IRBuilder, total: Any, x: Any, w: Any) -> Any:
    """total + x . w, x and w float32 vectors whose bits are pairs."""
    pairs = [builder.bitcast(value, _WORDS) for value in (x, w)]
    if HAS_PAIRS:
        return call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", F32.llvm_type, [total, *pairs])
    low = [builder.bitcast(builder.shl(value, _number(16)), F32.llvm_type) for value in pairs]
    high = [builder.bitcast(builder.and_(value, _number(0xFFFF0000)), F32.llvm_type) for value in pairs]
    total = builder.fadd(total, builder.fmul(*low))
    return builder.fadd(total, builder.fmul(*high))
