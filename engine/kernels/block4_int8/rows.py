"""Sparse int8 in blocks of four k: a zero quad is an instruction not issued."""

from __future__ import annotations

from engine.kernels.block4_int8.pack import pack
from engine.kernels.cost import Coefficients, Work, grouped_work
from engine.kernels.products.sparse_groups import BAND, group_scratch, word_kernel
from engine.kernels.row import Array, Cost, PackedWeights, ProductRow, ProductShape

# 24 KiB of a 64-lane panel of quads.
BLOCK_QUADS = 96


def _pack(w: Array) -> PackedWeights:
    return pack(w, BAND, BLOCK_QUADS)


def _work(shape: ProductShape) -> Work:
    quads = -(-shape.k // 4)
    density = shape.nonzeros / (shape.m * shape.k)
    # Without a count of live quads: as many as independent zeros would leave alive.
    alive = shape.alive_quads if shape.alive_quads is not None else shape.m * quads * (1 - (1 - density) ** 4)
    return grouped_work(shape.m, shape.k, shape.lanes, alive, -(-quads // BLOCK_QUADS))


# Measured on an EPYC (Zen 4) by `python -m engine.warm --calibrate`, at each of these levels.
_COEFFICIENTS = {
    "avx512_vnni": {
        16: Coefficients(0.577, 1.91, 1.66, 0, 0),
        32: Coefficients(0.444, 2.64, 1.65, 0, 0),
        64: Coefficients(0.397, 6.7, 1.22, 0.086, 0.00659),
    },
    "avx2": {
        16: Coefficients(1.15, 1.15, 4.39, 0.0999, 0.000409),
        32: Coefficients(1.01, 3.52, 3.16, 0.00905, 0.000134),
        64: Coefficients(1.11, 10.8, 2.58, 0.0466, 0),
    },
    "generic": {
        16: Coefficients(2.23, 2.51, 44.9, 0.129, 0),
        32: Coefficients(2.03, 9.29, 43.4, 0.0218, 0),
        64: Coefficients(1.93, 21.2, 43.7, 0.0813, 0.00401),
    },
}

ROW = ProductRow(
    family="block4_int8",
    operand="u8",
    reads="quads",
    kernels={width: word_kernel("block4_int8", width, "u8s8", BLOCK_QUADS) for width in (16, 32, 64)},
    pack=_pack,
    k_steps=lambda k: -(-k // 4),
    cost=Cost(_work, _COEFFICIENTS),
    scratch=group_scratch,
    whole_panels=True,
)
