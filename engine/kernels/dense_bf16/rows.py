"""Dense bfloat16 in vector registers, sums in float32: only where the user asked for `precision="bf16"`.

    w[m][k]  ->  [strip][pair of k][12][2 k's]       strips of twelve rows, as products/strips.py has them
    x            pairs of bfloat16 (see bf16_planes), which lie as quads of bytes do

One vdpbf16ps multiplies two k's of sixteen lanes: twice the arithmetic of float32.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.cost import Coefficients, Work, dense_work
from engine.kernels.layout import pair_rows
from engine.kernels.products.arguments import STRIP
from engine.kernels.products.strips import strip_count, strip_kernels, strip_scratch, strip_vectors
from engine.kernels.row import Array, Cost, PackedWeights, ProductRow, ProductShape, aligned
from engine.kernels.simd.pairs import HAS_PAIRS


def pack(w: Array) -> PackedWeights:
    """float32 w[m, k], any strides, rounded to bfloat16, into strips of twelve rows of pairs."""
    m, k = w.shape
    strips, pairs = strip_count(m), pair_rows(k)
    full = np.zeros((strips * STRIP, pairs * 2), np.uint16)
    full[:m, :k] = bf16_parts(w, 1)[0]
    packed = aligned((strips, pairs, STRIP, 2), np.uint16)
    packed[:] = full.reshape(strips, STRIP, pairs, 2).transpose(0, 2, 1, 3)
    return PackedWeights(packed, aligned(0, np.int32), m, k, strips, STRIP, int(np.count_nonzero(w)))


# Of few lanes four sums wait for each other longer than those of float32 do: 6 to 7 of 12 cycles on Zen 4.
_FEW_SHARE = 0.6


def _work(shape: ProductShape) -> Work:
    return dense_work(
        shape.m, shape.k, shape.lanes, pair_rows(shape.k), strip_vectors(shape.lanes, _FEW_SHARE)
    )


# Measured on an EPYC (Zen 4) as `python -m engine.warm --calibrate` does; where vdpbf16ps is missing nobody asks.
_COEFFICIENTS = {
    "generic": {
        16: Coefficients(0.276, 0, 0.143, 1.34, 7.84e-05),
        32: Coefficients(0.264, 0, 2.32, 2.39, 0.00852),
        64: Coefficients(0.295, 0, 0.842, 0.872, 0),
    },
}

ROW = ProductRow(
    family="dense_bf16",
    operand="f32",
    reads="pairs",
    kernels=strip_kernels("dense_bf16", "bf16"),
    pack=pack,
    k_steps=pair_rows,
    cost=Cost(_work, _COEFFICIENTS),
    scratch=strip_scratch,
    precision="bf16",
    emulated=not HAS_PAIRS,
)
