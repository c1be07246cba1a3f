"""Many lanes: a chunk of a strip's weights becomes float32 in L1, where the tiles of dense float32 read it.

numbers ── expanded ──> chunk [k][48] float32      written once for all panels of a run
chunk x panel 0, panel 1, ...                      register tiles as in products/strips.py; sums wait in scratch
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.arguments import product_of, strip_and_run
from engine.kernels.products.finishers import finish
from engine.kernels.products.strips import tile_shape
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.memory import prefetch_l2, read_i64, store_i32
from engine.kernels.simd.tile import tile_operations
from engine.kernels.weight_only.numbers import expansion, raised_zeros
from engine.kernels.weight_only.pack import (
    BLOCK,
    BLOCK_BYTES,
    GROUP,
    HEAD_BYTES,
    SCALE_BYTES,
    STRIP,
    STRIP_BYTES,
    VECTORS,
)
from engine.kernels.weight_only.vector import AHEAD

_ROW_BYTES = 4 * STRIP
# Steps of k that are float32 at a time, 24 KiB: sums are stored and loaded again after so many.
CHUNK = 128
# Panels of a strip that share what was expanded.
RUN = 4


def _expander(bits: int) -> Callable[..., None]:
    """So many steps of one block as float32."""
    group, single = expansion(bits)
    group_bytes, raise_zeros = STRIP * bits, raised_zeros(bits, VECTORS)

    @inner
    def expand(steps: int, head: int, numbers: int, target: int) -> None:
        zeros = raise_zeros(head + SCALE_BYTES)
        for line in range(0, HEAD_BYTES, 64):
            prefetch_l2(head + AHEAD + line)
        for _ in range(steps // GROUP):
            for line in range(0, group_bytes, 64):
                prefetch_l2(numbers + AHEAD + line)
            group(zeros, head, numbers, target)
            numbers += group_bytes
            target += GROUP * _ROW_BYTES
        for i in range(steps % GROUP):
            single(zeros, head, numbers, i, target + i * _ROW_BYTES)

    return expand


def _chunk_product(width: int) -> Callable[..., None]:
    """The chunk times so many steps of one panel, added to the strip's sums."""
    shape = tile_shape(width)
    tile = tile_operations(shape.rows, shape.vectors, "f32")
    load, step, save = tile.load, tile.step, tile.save
    rows, lane_bytes = shape.rows, 64 * shape.vectors

    @inner
    def multiply(steps: int, chunk: int, x: int, row_bytes: int, sums: int) -> None:
        for row in range(0, STRIP, rows):
            for lane in range(0, row_bytes, lane_bytes):
                place = sums + row * row_bytes + lane
                total = load(place, row_bytes)
                w, at = chunk + 4 * row, x + lane
                for _ in range(steps // 2):
                    total = step(total, w, 4, at)
                    total = step(total, w + _ROW_BYTES, 4, at + row_bytes)
                    w += 2 * _ROW_BYTES
                    at += 2 * row_bytes
                if steps % 2 != 0:
                    total = step(total, w, 4, at)
                save(total, place, row_bytes)

    return multiply


def panel_scratch(width: int) -> int:
    """Bytes for the sums of one strip over a run of panels, and for a chunk."""
    return RUN * STRIP * width * 4 + CHUNK * _ROW_BYTES


def panel_kernel(family: str, width: int, bits: int) -> Kernel:
    """The kernel that multiplies one strip by panels of `width` lanes."""
    shape = tile_shape(width)
    expand, product = _expander(bits), _chunk_product(width)
    all_sums, panel_sums, step_bits = RUN * STRIP * width * 4, STRIP * width * 4, STRIP * bits

    @inner
    def multiply_run(a: Any, strip: int, x: int, panels: int, scratch: int) -> None:
        head = a.w + strip * read_i64(a.w_index + 8 * STRIP_BYTES)
        block, block_bytes = read_i64(a.w_index + 8 * BLOCK), read_i64(a.w_index + 8 * BLOCK_BYTES)
        chunk, first, filled, within = scratch + all_sums, 0, 0, 0
        for at in range(0, panels * panel_sums, 64):
            store_i32(splat_i32(0), scratch + at)
        while first + filled < a.k:
            steps = least(least(block - within, CHUNK - filled), a.k - first - filled)
            # Blocks of 4-bit numbers are whole groups, or there is only one: a piece begins at a byte.
            expand(steps, head, head + HEAD_BYTES + within * step_bits // 8, chunk + filled * _ROW_BYTES)
            within, filled = within + steps, filled + steps
            if within == block:
                head, within = head + block_bytes, 0
            if filled == CHUNK or first + filled == a.k:
                for p in range(panels):
                    place = x + p * a.x_panel + first * a.row_bytes
                    product(filled, chunk, place, a.row_bytes, scratch + p * panel_sums)
                first, filled = first + filled, 0

    @kernel(family, f"{shape.rows}x{16 * shape.vectors}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        tile = tile_begin
        while tile < tile_end:
            strip, panel, panels = strip_and_run(a, tile, tile_end, RUN)
            multiply_run(a, strip, a.x + panel * a.x_panel, panels, scratch)
            for p in range(panels):
                finish(a.epilogue, scratch + p * panel_sums, strip * STRIP, STRIP, panel + p)
            tile += panels

    return multiply
