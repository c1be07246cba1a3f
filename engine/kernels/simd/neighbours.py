"""Numbers beside a vector's, and sums that leave lanes out: what windows over float32 in flat rows take.

one_later(a, b)     a15 b0 b1 .. b14          one_earlier(a, b)   a1 a2 .. a15 b0
evens_of(a, b)      a0 a2 .. a14 b0 .. b14    odds_of(a, b)       a1 a3 .. a15 b1 .. b15
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.jit import F32, instruction, ir
from engine.kernels.simd.tile import multiply_add


def _of_two(lanes: Iterable[int]) -> Callable[..., Any]:
    index = ir.Constant(ir.VectorType(ir.IntType(32), 16), list(lanes))
    return instruction(F32, (F32, F32), lambda b, first, second: b.shuffle_vector(first, second, index))


def _add_where(b: ir.IRBuilder, total: Any, x: Any, w: Any, lanes: Any) -> Any:
    mask = b.bitcast(b.trunc(lanes, ir.IntType(16)), ir.VectorType(ir.IntType(1), 16))
    return b.select(mask, multiply_add(b, total, x, w), total)


one_later = _of_two(range(15, 31))
one_earlier = _of_two(range(1, 17))
evens_of = _of_two(range(0, 32, 2))
odds_of = _of_two(range(1, 32, 2))
# total + x * w in the lanes whose bits are set; what x holds in the others does not matter.
add_where = instruction(F32, (F32, F32, F32, "i64"), _add_where)
