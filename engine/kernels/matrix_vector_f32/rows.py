"""Dense float32 over 1 to 8 lanes: as fast as the weights can be read."""

from __future__ import annotations

import numpy as np

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
    """float32 w[m, k], any strides."""
    return pack_values(w, w.shape[1], int(np.count_nonzero(w)))


def unpack(packed: PackedWeights) -> Array:
    """The matrix that `pack` was given."""
    return unpack_values(packed, packed.k)


def _work(shape: ProductShape) -> Work:
    return vector_work(shape, shape.k)


# Measured on an EPYC (Zen 4), one core, at each of these levels.
_COEFFICIENTS = {
    "avx512_vnni": {WIDTH: Coefficients(0.205, 0.489, 3.67, 0, 0.00262)},
    "avx2": {WIDTH: Coefficients(0.276, 0.414, 3.31, 0, 0.00411)},
    "generic": {WIDTH: Coefficients(0.75, 0.519, 5.79, 0, 0.0066)},
}

ROW = ProductRow(
    family="matrix_vector_f32",
    operand="f32",
    reads="panel",
    kernels={WIDTH: vector_kernel("matrix_vector_f32", "f32")},
    pack=pack,
    k_steps=lambda k: k,
    cost=Cost(_work, _COEFFICIENTS),
    scratch=lambda _width: VECTOR_SCRATCH,
    most_lanes=MOST_LANES,
)
