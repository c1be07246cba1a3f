"""Sparse float32: a zero weight is an instruction not issued.

Every nonzero is one broadcast and a multiply-add for each vector of lanes; nothing is ever gathered,
as lanes are the vector's direction. Two rows at a time hide the latency of their sums.
Source: Elsen et al. 2020, "Fast Sparse ConvNets" (weights by row, positions as lanes).
"""

from __future__ import annotations

from engine.jit import active_level
from engine.kernels.csr_f32.pack import pack
from engine.kernels.products.groups import GROUP
from engine.kernels.products.sparse_groups import BAND, group_kernel, group_scratch
from engine.kernels.row import Array, PackedWeights, ProductRow, ProductShape

# 24 KiB of a 64-lane panel: three quarters of the smallest L1 of today's servers. Of 64 to 256 features,
# and two or four vectors a pass, this and four vectors were the fastest on Zen 4 (59 % of the FMA peak at 90 % zeros).
BLOCK_K = 96


def _pack(w: Array) -> PackedWeights:
    return pack(w, BAND, BLOCK_K)


# Multiply-adds of sixteen lanes a nanosecond of one core at 90 % zeros (EPYC Zen 4, 3.7 GHz), and the
# time of a group's header, loads and stores, as so many multiply-adds.
_RATE = {64: 2.6, 32: 2.2, 16: 0.9}
_GROUP_STEPS = 10


def _cost(shape: ProductShape) -> float:
    blocks = -(-shape.k // BLOCK_K)
    steps = shape.nonzeros + _GROUP_STEPS * shape.m * blocks / GROUP
    return steps * shape.lanes.vectors / _RATE[active_level().width]


ROW = ProductRow(
    family="csr_f32",
    operand="f32",
    reads="panel",
    kernels={width: group_kernel("csr_f32", width, "f32", BLOCK_K) for width in (16, 32, 64)},
    pack=_pack,
    k_steps=lambda k: k,
    cost=_cost,
    scratch=group_scratch,
)
