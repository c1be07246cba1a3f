"""Dense float32: every weight, on f32 panels."""

from __future__ import annotations

from engine.jit import active_level
from engine.kernels.products.strips import pack_f32, strip_kernels, strip_scratch
from engine.kernels.row import ProductRow, ProductShape

# Multiply-adds of sixteen lanes a nanosecond of one core, seen at 1x64 lanes and more (EPYC Zen 4, 3.7 GHz).
_RATE = {64: 3.5, 32: 3.3, 16: 1.2}


def _cost(shape: ProductShape) -> float:
    steps = shape.m * shape.k * shape.lanes.vectors
    return steps / _RATE[active_level().width]


ROW = ProductRow(
    family="dense_f32",
    operand="f32",
    reads="panel",
    kernels=strip_kernels("dense_f32", "f32"),
    pack=pack_f32,
    k_steps=lambda k: k,
    cost=_cost,
    scratch=strip_scratch,
)
