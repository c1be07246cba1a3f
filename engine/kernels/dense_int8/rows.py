"""Dense int8: u8 activations as quads, s8 weights, exact int32 sums."""

from __future__ import annotations

from engine.jit import active_level
from engine.kernels.products.strips import pack_quads, strip_kernels, strip_scratch
from engine.kernels.row import ProductRow, ProductShape

# Products of quads by sixteen lanes a nanosecond of one core (EPYC Zen 4, 3.7 GHz; with and without a dot instruction).
_RATE = {True: 3.4, False: 0.7}


def _cost(shape: ProductShape) -> float:
    steps = shape.m * -(-shape.k // 4) * shape.lanes.vectors
    return steps / _RATE[active_level().int8_dot]


ROW = ProductRow(
    family="dense_int8",
    operand="u8",
    reads="quads",
    kernels=strip_kernels("dense_int8", "u8s8"),
    pack=pack_quads,
    k_steps=lambda k: -(-k // 4),
    cost=_cost,
    scratch=strip_scratch,
)
