"""Dense int8 over 1 to 8 lanes: u8 activations as quads, s8 weights, exact int32 sums."""

from __future__ import annotations

import numpy as np

from engine.kernels.block4_int8.pack import quads_of
from engine.kernels.cost import Coefficients, Work
from engine.kernels.products.vector_strips import (
    MOST_LANES,
    VECTOR_SCRATCH,
    WIDTH,
    pack_values,
    unpack_values,
    vector_kernel,
    vector_work,
)
from engine.kernels.row import Array, Cost, PackedWeights, ProductRow, ProductShape


def pack(w: Array) -> PackedWeights:
    """int8 w[m, k], any strides."""
    return pack_values(quads_of(w).view(np.int32)[..., 0], w.shape[1], int(np.count_nonzero(w)))


def unpack(packed: PackedWeights) -> Array:
    """The matrix that `pack` was given."""
    quads = np.ascontiguousarray(unpack_values(packed, -(-packed.k // 4)))
    return np.ascontiguousarray(quads.view(np.int8)[:, : packed.k])


def _work(shape: ProductShape) -> Work:
    return vector_work(shape, -(-shape.k // 4))


# Measured on an EPYC (Zen 4), one core, at each of these levels.
_COEFFICIENTS = {
    "avx512_vnni": {WIDTH: Coefficients(0.225, 0.502, 3.56, 0, 0.003)},
    "avx2": {WIDTH: Coefficients(0.78, 0.551, 5.12, 0, 0.00226)},
    "generic": {WIDTH: Coefficients(1.89, 0.637, 46.8, 0, 0.0056)},
}

ROW = ProductRow(
    family="matrix_vector_int8",
    operand="u8",
    reads="quads",
    kernels={WIDTH: vector_kernel("matrix_vector_int8", "s8u8")},
    pack=pack,
    k_steps=lambda k: -(-k // 4),
    cost=Cost(_work, _COEFFICIENTS),
    scratch=lambda _width: VECTOR_SCRATCH,
    most_lanes=MOST_LANES,
)
