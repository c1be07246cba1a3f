"""Sparse float32: a zero weight is an instruction not issued.

Every nonzero is one broadcast and a multiply-add for each vector of lanes; nothing is ever gathered,
as lanes are the vector's direction. Two rows at a time hide the latency of their sums.
Source: Elsen et al. 2020, "Fast Sparse ConvNets" (weights by row, positions as lanes).
"""

from __future__ import annotations

from engine.jit import Kernel, active_level, kernel
from engine.kernels.csr_f32.pack import GROUP, HEADER, pack
from engine.kernels.products.arguments import product_of, strip_and_panel
from engine.kernels.products.epilogue import finish
from engine.kernels.row import Array, PackedWeights, ProductRow, ProductShape
from engine.kernels.simd.memory import read_i32
from engine.kernels.simd.tile import tile_operations

BAND = 96
# 24 KiB of a 64-lane panel: three quarters of the smallest L1 of today's servers. Of 64 to 256 features,
# and two or four vectors a pass, this and four vectors were the fastest on Zen 4 (59 % of the FMA peak at 90 % zeros).
BLOCK_K = 96


def csr_kernel(width: int, vectors: int) -> Kernel:
    """The kernel that multiplies one band by one panel of `width` lanes, `vectors` vectors at a time."""
    tile = tile_operations(1, vectors, "f32")
    zero, load, save, step = tile.zero, tile.load, tile.save, tile.step
    lane_bytes, header_bytes = 64 * vectors, 4 * HEADER
    shift = (4 * width).bit_length() - 1

    @kernel("csr_f32", f"2x{16 * vectors}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        row_bytes = a.row_bytes
        blocks = -(-a.k // BLOCK_K)
        for index in range(tile_begin, tile_end):
            band, panel = strip_and_panel(a, index)
            head = a.w_index + 4 * read_i32(a.w_index + 4 * band)
            for lane in range(0, row_bytes, lane_bytes):
                x = a.x + panel * a.x_panel + lane
                entry = a.w + 8 * read_i32(head)
                group = head + 4 + 4 * blocks
                for block in range(blocks):
                    for _ in range(read_i32(head + 4 + 4 * block)):
                        count = read_i32(group)
                        y0 = scratch + (read_i32(group + 4) << shift) + lane
                        y1 = scratch + (read_i32(group + 8) << shift) + lane
                        sum0 = zero() if block == 0 else load(y0, row_bytes)
                        sum1 = zero() if block == 0 else load(y1, row_bytes)
                        for _ in range(count):
                            sum0 = step(sum0, entry, 0, x + (read_i32(entry + 4) << shift))
                            sum1 = step(sum1, entry + 8, 0, x + (read_i32(entry + 12) << shift))
                            entry += 16
                        save(sum0, y0, row_bytes)
                        save(sum1, y1, row_bytes)
                        group += header_bytes
            finish(a.epilogue, scratch, band * BAND, BAND, panel)

    return multiply


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
    reads="panel",
    kernels={width: csr_kernel(width, width // 16) for width in (16, 32, 64)},
    pack=_pack,
    k_steps=lambda k: k,
    cost=_cost,
    scratch=lambda width: (BAND + 1) * width * 4,
)
