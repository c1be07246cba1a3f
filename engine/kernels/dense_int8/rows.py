"""Dense int8: u8 activations as quads, s8 weights, exact int32 sums."""

from __future__ import annotations

from engine.kernels.cost import Coefficients, Work, dense_work
from engine.kernels.products.strips import pack_quads, strip_kernels, strip_scratch
from engine.kernels.row import Cost, ProductRow, ProductShape


def _work(shape: ProductShape) -> Work:
    return dense_work(shape.m, shape.k, shape.lanes, -(-shape.k // 4))


# Measured on an EPYC (Zen 4).
_COEFFICIENTS = {
    "generic": {
        16: Coefficients(0.26, 0, 4.8, 2.7, 0.008),
        32: Coefficients(0.2757, 0, 3.79, 0.64, 0.0117),
        64: Coefficients(0.2775, 0, 3.58, 0.48, 0.0019),
    },
}

ROW = ProductRow(
    family="dense_int8",
    operand="u8",
    reads="quads",
    kernels=strip_kernels("dense_int8", "u8s8"),
    pack=pack_quads,
    k_steps=lambda k: -(-k // 4),
    cost=Cost(_work, _COEFFICIENTS),
    scratch=strip_scratch,
)
