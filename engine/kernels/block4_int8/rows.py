"""Sparse int8 in blocks of four k: a zero quad is an instruction not issued."""

from __future__ import annotations

from engine.kernels.block4_int8.pack import pack
from engine.kernels.cost import Coefficients, Work, grouped_work
from engine.kernels.products.sparse_groups import BAND, group_kernel, group_scratch
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


# Measured on an EPYC (Zen 4).
_COEFFICIENTS = {
    "generic": {
        16: Coefficients(0.496, 1.62, 3.66, 0, 0.003),
        32: Coefficients(0.4, 2.9, 3.0, 0.02, 0.0055),
        64: Coefficients(0.3855, 5.6, 2.8, 0.02, 0.0124),
    },
}

ROW = ProductRow(
    family="block4_int8",
    operand="u8",
    reads="quads",
    kernels={width: group_kernel("block4_int8", width, "u8s8", BLOCK_QUADS) for width in (16, 32, 64)},
    pack=_pack,
    k_steps=lambda k: -(-k // 4),
    cost=Cost(_work, _COEFFICIENTS),
    scratch=group_scratch,
)
