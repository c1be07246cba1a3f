"""Sparse int8 in blocks of four k: a zero quad is an instruction not issued."""

from __future__ import annotations

from engine.jit import active_level
from engine.kernels.block4_int8.pack import pack
from engine.kernels.products.groups import GROUP
from engine.kernels.products.sparse_groups import BAND, group_kernel, group_scratch
from engine.kernels.row import Array, PackedWeights, ProductRow, ProductShape

# 24 KiB of a 64-lane panel of quads.
BLOCK_QUADS = 96


def _pack(w: Array) -> PackedWeights:
    return pack(w, BAND, BLOCK_QUADS)


# Products of quads by sixteen lanes a nanosecond of one core (EPYC Zen 4, 3.7 GHz).
_RATE = {True: 2.6, False: 0.6}
_GROUP_STEPS = 10


def _cost(shape: ProductShape) -> float:
    quads = -(-shape.k // 4)
    density = shape.nonzeros / (shape.m * shape.k)
    # Without a count of live quads: as many as independent zeros would leave alive.
    alive = shape.alive_quads if shape.alive_quads is not None else shape.m * quads * (1 - (1 - density) ** 4)
    steps = alive + _GROUP_STEPS * shape.m * -(-quads // BLOCK_QUADS) / GROUP
    return steps * shape.lanes.vectors / _RATE[active_level().int8_dot]


ROW = ProductRow(
    family="block4_int8",
    operand="u8",
    reads="quads",
    kernels={width: group_kernel("block4_int8", width, "u8s8", BLOCK_QUADS) for width in (16, 32, 64)},
    pack=_pack,
    k_steps=lambda k: -(-k // 4),
    cost=_cost,
    scratch=group_scratch,
)
