"""The loop nest of the families whose entries are a 32-bit value and a row number of x.

    band -> pass over some vectors of lanes -> block of k -> group of two rows -> entries

A "value" is a float32 weight, or a quad of int8 weights; x's row is that k, or that quad.
"""

from __future__ import annotations

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.arguments import product_of, strip_and_panel
from engine.kernels.products.epilogue import finish
from engine.kernels.products.groups import HEADER
from engine.kernels.simd.memory import prefetch, read_i32
from engine.kernels.simd.tile import tile_operations

BAND = 96
# Bytes by which weights are asked for before they are needed: they come from beyond L2, once a panel.
STREAM_AHEAD = 4096


@inner
def prefetch_stream(entries: int, count: int) -> None:
    """Ask for as many bytes as the group at hand has, some groups further on; few groups need the loop."""
    prefetch(entries + STREAM_AHEAD)
    prefetch(entries + STREAM_AHEAD + 64)
    prefetch(entries + STREAM_AHEAD + 128)
    for line in range(192, count, 64):
        prefetch(entries + STREAM_AHEAD + line)


def group_kernel(family: str, width: int, kind: str, block_k: int) -> Kernel:
    """The kernel that multiplies one band by one panel of `width` lanes.

    kind      "f32", or "u8s8" for integer sums that begin at `start`
    block_k   steps of k in a block, as the weights were packed
    """
    vectors = width // 16
    tile = tile_operations(1, vectors, kind)
    spread, zero, load, save, step = tile.spread, tile.zero, tile.load, tile.save, tile.step
    integer = kind == "u8s8"
    header_bytes, shift = 4 * HEADER, (4 * width).bit_length() - 1

    @kernel(family, f"2x{width}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        row_bytes = a.row_bytes
        blocks = -(-a.k // block_k)
        for index in range(tile_begin, tile_end):
            band, panel = strip_and_panel(a, index)
            head = a.w_index + 4 * read_i32(a.w_index + 4 * band)
            x = a.x + panel * a.x_panel
            start = a.start + 4 * BAND * band
            entry = a.w + 8 * read_i32(head)
            group = head + 4 + 4 * blocks
            for block in range(blocks):
                for _ in range(read_i32(head + 4 + 4 * block)):
                    row0, row1 = read_i32(group + 4), read_i32(group + 8)
                    y0, y1 = scratch + (row0 << shift), scratch + (row1 << shift)
                    if block > 0:
                        sum0, sum1 = load(y0, row_bytes), load(y1, row_bytes)
                    elif integer:
                        sum0, sum1 = spread(start + 4 * row0, 0), spread(start + 4 * row1, 0)
                    else:
                        sum0, sum1 = zero(), zero()
                    count = read_i32(group)
                    prefetch_stream(entry, 16 * count)
                    for _ in range(count):
                        sum0 = step(sum0, entry, 0, x + (read_i32(entry + 4) << shift))
                        sum1 = step(sum1, entry + 8, 0, x + (read_i32(entry + 12) << shift))
                        entry += 16
                    save(sum0, y0, row_bytes)
                    save(sum1, y1, row_bytes)
                    group += header_bytes
            finish(a.epilogue, scratch, band * BAND, BAND, panel)

    return multiply


def group_scratch(width: int) -> int:
    """Bytes for one band's sums over one panel, and the spare row."""
    return (BAND + 1) * width * 4
