"""Dense float32: every weight, on f32 panels."""

from __future__ import annotations

from engine.kernels.cost import Coefficients, Work, dense_work
from engine.kernels.products.strips import pack_f32, strip_kernels, strip_scratch
from engine.kernels.row import Cost, ProductRow, ProductShape


def _work(shape: ProductShape) -> Work:
    return dense_work(shape.m, shape.k, shape.lanes, shape.k)


# Measured on an EPYC (Zen 4).
_COEFFICIENTS = {
    "generic": {
        16: Coefficients(0.31, 0, 0.7, 0, 0.01),
        32: Coefficients(0.3, 0, 0.9, 0, 0.0067),
        64: Coefficients(0.287, 0, 1.38, 1.26, 0),
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
