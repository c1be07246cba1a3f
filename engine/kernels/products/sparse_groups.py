"""The loop nest of all families whose weights lie in row groups (products/groups.py), and the body of the plainest.

    band -> panel -> block of k -> group of two rows -> entries

What an entry is, and how it is multiplied, is the family's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.arguments import product_of, strip_and_panel
from engine.kernels.products.finishers import finish
from engine.kernels.products.groups import HEADER
from engine.kernels.simd.memory import prefetch, read_i32
from engine.kernels.simd.tile import tile_operations

BAND = 96
# Bytes by which weights are asked for before they are needed: they come from beyond L2, once a panel.
STREAM_AHEAD = 4096


@dataclass(frozen=True, slots=True)
class GroupForm:
    """What one family multiplies, over panels of one width.

    block_k       steps of k in a block, as the weights were packed
    unit_bytes    by which `index` counts the places of entries
    x_block       bytes of x from block to block; 0: entries name their rows from the panel's first on
    add           the inner function (x, entry, count, block, start, y) -> end of the group's entries: adds a group to
                  the sums of its two rows at the addresses y, which begin at the int32 at `start` in block 0
    """

    block_k: int
    unit_bytes: int
    x_block: int
    add: Callable[..., int]


@inner
def prefetch_stream(entries: int, count: int) -> None:
    """Ask for as many bytes as the group at hand has, some groups further on; few groups need the loop."""
    prefetch(entries + STREAM_AHEAD)
    prefetch(entries + STREAM_AHEAD + 64)
    prefetch(entries + STREAM_AHEAD + 128)
    for line in range(192, count, 64):
        prefetch(entries + STREAM_AHEAD + line)


def group_kernel(family: str, width: int, form: GroupForm) -> Kernel:
    """The kernel that multiplies one band by one panel of `width` lanes."""
    block_k, unit_bytes, x_block, add = form.block_k, form.unit_bytes, form.x_block, form.add
    header_bytes, shift = 4 * HEADER, (4 * width).bit_length() - 1

    @kernel(family, f"2x{width}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        blocks = -(-a.k // block_k)
        for index in range(tile_begin, tile_end):
            band, panel = strip_and_panel(a, index)
            head = a.w_index + 4 * read_i32(a.w_index + 4 * band)
            start = a.start + 4 * BAND * band
            entry = a.w + unit_bytes * read_i32(head)
            group = head + 4 + 4 * blocks
            for block in range(blocks):
                x = a.x + panel * a.x_panel + block * x_block
                for _ in range(read_i32(head + 4 + 4 * block)):
                    count, row0, row1 = read_i32(group), read_i32(group + 4), read_i32(group + 8)
                    starts = start + 4 * row0, start + 4 * row1
                    sums = scratch + (row0 << shift), scratch + (row1 << shift)
                    entry = add(x, entry, count, block, starts, sums)
                    group += header_bytes
            finish(a.epilogue, scratch, band * BAND, BAND, panel)

    return multiply


def word_kernel(family: str, width: int, kind: str, block_k: int) -> Kernel:
    """The kernel of entries of 8 bytes: a 32-bit value, and the row of x that it multiplies.

    A value is a float32 weight (kind "f32"), or a quad of int8 weights ("u8s8"); x's row is that k, or that quad.
    """
    tile = tile_operations(1, width // 16, kind)
    spread, zero, load, save, step = tile.spread, tile.zero, tile.load, tile.save, tile.step
    integer, row_bytes, shift = kind == "u8s8", 4 * width, (4 * width).bit_length() - 1

    @inner
    def add(x: int, entry: int, count: int, block: int, start: tuple[int, int], y: tuple[int, int]) -> int:
        if block > 0:
            sum0, sum1 = load(y[0], row_bytes), load(y[1], row_bytes)
        elif integer:
            sum0, sum1 = spread(start[0], 0), spread(start[1], 0)
        else:
            sum0, sum1 = zero(), zero()
        prefetch_stream(entry, 16 * count)
        for _ in range(count):
            sum0 = step(sum0, entry, 0, x + (read_i32(entry + 4) << shift))
            sum1 = step(sum1, entry + 8, 0, x + (read_i32(entry + 12) << shift))
            entry += 16
        save(sum0, y[0], row_bytes)
        save(sum1, y[1], row_bytes)
        return entry

    return group_kernel(family, width, GroupForm(block_k, 8, 0, add))


def group_scratch(width: int) -> int:
    """Bytes for one band's sums over one panel, and the spare row."""
    return (BAND + 1) * width * 4
