"""Dense int8: u8 activations as quads, s8 weights, exact int32 sums."""

from __future__ import annotations

from engine.kernels.cost import Coefficients, Work, dense_work
from engine.kernels.products.strips import pack_quads, strip_kernels, strip_scratch, strip_vectors
from engine.kernels.row import Cost, ProductRow, ProductShape


def _work(shape: ProductShape) -> Work:
    return dense_work(shape.m, shape.k, shape.lanes, -(-shape.k // 4), strip_vectors(shape.lanes))


# Measured on an EPYC (Zen 4) by `python -m engine.warm --calibrate`, at each of these levels.
_COEFFICIENTS = {
    "avx512_vnni": {
        16: Coefficients(0.277, 0, 3.6, 0, 0.000303),
        32: Coefficients(0.275, 0, 3.54, 0.0358, 0.000829),
        64: Coefficients(0.278, 0, 2.43, 0.258, 0),
    },
    "avx2": {
        16: Coefficients(0.862, 0, 4.82, 0.0821, 0.00257),
        32: Coefficients(0.864, 0, 3.57, 0.393, 0.00392),
        64: Coefficients(0.854, 0, 4.17, 1.28, 0.0129),
    },
    "generic": {
        16: Coefficients(2.04, 0, 44.6, 0.942, 0.00616),
        32: Coefficients(2.03, 0, 44.4, 2.06, 0.0175),
        64: Coefficients(2.04, 0, 45.4, 2.54, 0.03),
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
