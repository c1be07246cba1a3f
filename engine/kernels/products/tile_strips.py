"""Products on AMX tiles: strips of 32 rows by runs of panels, for all types and for dense and compressed weights.

    tmm0 tmm1    sums, rows 0-15, two columns of sixteen lanes       tmm4 tmm5    A: rows 0-15, rows 16-31
    tmm2 tmm3    sums, rows 16-31                                    tmm6 tmm7    B: two columns

    for each chunk of k (its A tiles stay in L1)
      for each pair of columns of the run
        sums from scratch (or their start); for each k tile: B streams from L2, four products; sums to scratch
    then the epilogue over the whole run

Tiles of the step table that share a strip and follow each other are one run: compressed weights are expanded
once for all of its columns, by the first pair, one k tile ahead of the products that need it.
Sums of a lane do not depend on the run, so neither does the result on how the work is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.arguments import product_of, strip_and_run
from engine.kernels.products.epilogue import finish
from engine.kernels.products.tile_packing import ROWS
from engine.kernels.products.tile_steps import TileSteps, tile_steps
from engine.kernels.simd.arithmetic import least, splat_i32
from engine.kernels.simd.expand import ROW_BYTES
from engine.kernels.simd.memory import prefetch, prefetch_l2, read_i32, read_i64, store_i32
from engine.kernels.simd.tiles import TILE_BYTES, TILE_MEMORY

# Panels of a run: 512 lanes, whose sums take 64 KiB.
RUN = 8
# A single pair of columns needs no expanded tile twice: a ring of so many stays in L1.
RING = 4
_STREAM_AHEAD = 1024


@dataclass(frozen=True, slots=True)
class TileForm:
    """What one family multiplies.

    kind        "u8s8" on quads, or "bf16" on planes
    planes      bf16 planes of either operand: 1, or 3 for float32 by six products
    chunk       k tiles whose A tiles are used by all columns before the next
    expand      (source, masks, target) -> source, for compressed weights; None: dense
    mask_bytes  of the sixteen masks of one tile
    """

    kind: str
    planes: int
    chunk: int
    expand: Callable[..., Any] | None = None
    mask_bytes: int = 0

    @property
    def step_bytes(self) -> int:
        """Of the A tiles of one k tile of a strip."""
        return 2 * self.planes * TILE_BYTES


@inner
def _spread_start(start: int, target: int) -> None:
    """The first sums of a strip's rows as two tiles."""
    for row in range(ROWS):
        store_i32(splat_i32(read_i32(start + 4 * row)), target + row * ROW_BYTES)


def _expander(form: TileForm) -> Callable[..., Any]:
    """(source, masks, target) -> the source after one k tile's A tiles, expanded plane by plane."""
    expand, planes, mask_bytes = form.expand, form.planes, form.mask_bytes
    if expand is None:

        @inner
        def nothing(source: int, masks: int, target: int) -> int:
            return source

        return nothing

    @inner
    def expand_step(source: int, masks: int, target: int) -> int:
        prefetch(masks + _STREAM_AHEAD)
        for line in range(4 * planes):
            prefetch(source + _STREAM_AHEAD + 64 * line)
        for plane in range(planes):
            source = expand(source, masks, target + 2 * plane * TILE_BYTES)
            source = expand(source, masks + mask_bytes, target + (2 * plane + 1) * TILE_BYTES)
        return source

    return expand_step


def _offsets(form: TileForm) -> tuple[int, int, int]:
    """Where in scratch the start tiles, the expanded tiles and the sums begin."""
    start = TILE_MEMORY
    expanded = start + 2 * TILE_BYTES
    return start, expanded, expanded + (0 if form.expand is None else max(form.chunk, RING) * form.step_bytes)


def tile_scratch(form: TileForm) -> Callable[[int], int]:
    """Bytes of scratch by panel width."""
    return lambda width: _offsets(form)[2] + RUN * ROWS * width * 4


def _run_product(width: int, form: TileForm, operations: TileSteps) -> Callable[..., None]:
    """The inner function (args, scratch, strip, panel, panels, ahead): sums of a strip by a run of panels."""
    step, begin, resume, save = operations.step, operations.begin, operations.resume, operations.save
    expand, compressed, split = _expander(form), form.expand is not None, form.kind == "bf16"
    start, expanded, sums = _offsets(form)
    vectors, columns, chunk, step_bytes = width // 16, operations.columns, form.chunk, form.step_bytes
    plane_bytes, mask_bytes, lines = form.planes * TILE_BYTES, 2 * form.mask_bytes, step_bytes // 64 * columns

    @inner
    def multiply(args: int, scratch: int, strip: int, panel: int, panels: int, ahead: int) -> None:
        a = product_of(args)
        gap, stride, advance = (a.k * plane_bytes, 64, plane_bytes) if split else (64, 4 * width, 64 * width)
        last, masks = vectors * panels, a.w_index + 8 * a.strips + strip * a.k * mask_bytes
        source = a.w + read_i64(a.w_index + 8 * strip) if compressed else a.w + strip * a.k * step_bytes
        following, ring = source + a.k * step_bytes, RING - 1 if last == columns else -1
        for first in range(0, a.k, chunk):
            steps = least(chunk, a.k - first)
            for column in range(0, last, columns):
                x = a.x + (panel + column // vectors) * a.x_panel + column % vectors * gap + first * advance
                y = scratch + sums + column // vectors * (ROWS * 4 * width) + column % vectors * 64
                if first == 0:
                    begin(scratch, scratch + start)
                else:
                    resume(scratch, y, 4 * width)
                fresh = compressed and column == 0
                if fresh:
                    source = expand(source, masks, scratch + expanded)
                for t in range(steps):
                    if fresh:
                        masks += mask_bytes
                        if t + 1 < steps:
                            source = expand(source, masks, scratch + expanded + (t + 1 & ring) * step_bytes)
                    w = scratch + expanded + (t & ring) * step_bytes
                    if not compressed:
                        w = source + (first + t) * step_bytes
                        if ahead != 0:
                            for _ in range(0, lines, last):
                                prefetch_l2(following)
                                following += 64
                    step(scratch, w, x + t * advance, gap, stride)
                save(scratch, y, 4 * width)

    return multiply


def tile_kernel(family: str, width: int, form: TileForm) -> Kernel:
    """The kernel that multiplies strips of 32 rows by panels of `width` lanes."""
    operations = tile_steps(form.kind, form.planes, min(2, width // 16))
    configure, release = operations.unit.configure, operations.unit.release
    multiply_run, integer = _run_product(width, form, operations), form.kind == "u8s8"
    start, _, sums = _offsets(form)
    panel_bytes = ROWS * 4 * width

    @kernel(family, f"{ROWS}x{16 * operations.columns}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        configure(scratch)
        index = tile_begin
        while index < tile_end:
            strip, panel, panels = strip_and_run(a, index, tile_end, RUN)
            index += panels
            if integer:
                _spread_start(a.start + 4 * ROWS * strip, scratch + start)
            multiply_run(args, scratch, strip, panel, panels, tile_end - index)
            for i in range(panels):
                finish(a.epilogue, scratch + sums + i * panel_bytes, ROWS * strip, ROWS, panel + i)
        release(scratch)

    return multiply


def tile_kernels(family: str, form: TileForm) -> dict[int, Kernel]:
    """One kernel for every panel width."""
    return {width: tile_kernel(family, width, form) for width in (16, 32, 64)}
