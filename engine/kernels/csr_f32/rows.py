"""Sparse float32: a zero weight is an instruction not issued.

Every nonzero is one broadcast and a multiply-add for each vector of lanes; nothing is ever gathered,
as lanes are the vector's direction. Two rows at a time hide the latency of their sums.
Source: Elsen et al. 2020, "Fast Sparse ConvNets" (weights by row, positions as lanes).
"""

from __future__ import annotations

from engine.kernels.cost import Coefficients, Work, grouped_work
from engine.kernels.csr_f32.pack import pack
from engine.kernels.products.sparse_groups import BAND, group_scratch, word_kernel
from engine.kernels.row import Array, Cost, PackedWeights, ProductRow, ProductShape

# 32 KiB of a 64-lane panel: the smallest L1 of today's servers. Of 64 to 256 features,
# and two or four vectors a pass, this and four vectors were the fastest on Zen 4 (59 % of the FMA peak at 90 % zeros).
BLOCK_K = 128


def _pack(w: Array) -> PackedWeights:
    return pack(w, BAND, BLOCK_K)


def _work(shape: ProductShape) -> Work:
    return grouped_work(shape.m, shape.k, shape.lanes, shape.nonzeros, -(-shape.k // BLOCK_K))


# Measured on an EPYC (Zen 4) by `python -m engine.warm --calibrate`, at each of these levels.
_COEFFICIENTS = {
    "avx512_vnni": {
        16: Coefficients(0.554, 2.49, 2.9, 0, 0.00385),
        32: Coefficients(0.453, 2.65, 2.19, 0, 0.00198),
        64: Coefficients(0.417, 5.49, 2.39, 0.396, 0.00284),
    },
    "avx2": {
        16: Coefficients(0.59, 1.49, 1.44, 0, 0.000686),
        32: Coefficients(0.454, 2.96, 1.23, 0.0204, 0.00147),
        64: Coefficients(0.481, 7.58, 0.97, 0, 0.00215),
    },
    "generic": {
        16: Coefficients(1.01, 2.54, 3.39, 0, 0.00251),
        32: Coefficients(1.07, 5.9, 3.24, 0.225, 0.00533),
        64: Coefficients(1.2, 21.5, 2.69, 0, 0.0116),
    },
}

ROW = ProductRow(
    family="csr_f32",
    operand="f32",
    reads="panel",
    kernels={width: word_kernel("csr_f32", width, "f32", BLOCK_K) for width in (16, 32, 64)},
    pack=_pack,
    k_steps=lambda k: k,
    cost=Cost(_work, _COEFFICIENTS),
    scratch=group_scratch,
)
