"""Dense float32: every weight, on f32 panels."""

from __future__ import annotations

from engine.kernels.cost import Coefficients, Work, dense_work
from engine.kernels.products.strips import pack_f32, strip_kernels, strip_scratch, strip_vectors
from engine.kernels.row import Cost, ProductRow, ProductShape


def _work(shape: ProductShape) -> Work:
    return dense_work(shape.m, shape.k, shape.lanes, shape.k, strip_vectors(shape.lanes))


# Measured on an EPYC (Zen 4) by `python -m engine.warm --calibrate`, at each of these levels.
_COEFFICIENTS = {
    "avx512_vnni": {
        16: Coefficients(0.259, 0, 0, 0, 0.00886),
        32: Coefficients(0.277, 0, 0.325, 0.0414, 0),
        64: Coefficients(0.283, 0, 0.685, 1.19, 0.000984),
    },
    "avx2": {
        16: Coefficients(0.28, 0, 1.99, 1.16, 8.47e-05),
        32: Coefficients(0.28, 0, 0.0547, 0.3, 0.000258),
        64: Coefficients(0.277, 0, 1.61, 2.31, 0.0209),
    },
    "generic": {
        16: Coefficients(0.82, 0, 0, 0.52, 0),
        32: Coefficients(0.816, 0, 0, 2.2, 0.000803),
        64: Coefficients(0.872, 0, 0.604, 0, 0),
    },
}

ROW = ProductRow(
    family="dense_f32",
    operand="f32",
    reads="panel",
    kernels=strip_kernels("dense_f32", "f32"),
    pack=pack_f32,
    k_steps=lambda k: k,
    cost=Cost(_work, _COEFFICIENTS),
    scratch=strip_scratch,
)
