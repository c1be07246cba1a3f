"""Products on AMX tiles: strips of 32 rows by runs of panels, for all types and for dense and compressed weights.

    tmm0 tmm1    sums, rows 0-15, two columns of sixteen lanes       tmm4 tmm5    A: rows 0-15, rows 16-31
    tmm2 tmm3    sums, rows 16-31                                    tmm6 tmm7    B: two columns

    for each chunk of k (its A tiles stay in L1)
      for each pair of columns of the run
        sums from scratch (or zero); for each k tile: A from L1, B streams from L2, a part of the epilogue of the
        block before, four products; sums to scratch

Tiles of the step table that share a strip and follow each other are one run: compressed weights are expanded
once for all of its columns, by the first pair, two k tiles ahead of the products that need them, between the
loads of a step and its products.
Sums of a lane do not depend on the run, so neither does the result on how the work is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.jit import Kernel, inner, kernel
from engine.kernels.products.arguments import lane_bytes_of, product_of, strip_and_run
from engine.kernels.products.tile_epilogue import (
    PENDING_BYTES,
    finish_units,
    pending_of,
    unit_finisher,
    units_a_step,
    wait,
)
from engine.kernels.products.tile_packing import ROWS
from engine.kernels.products.tile_steps import TileSteps, tile_steps
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import prefetch, prefetch_l2, read_i64
from engine.kernels.simd.tiles import TILE_BYTES, TILE_MEMORY

# Panels of a run: 512 lanes, whose sums take 64 KiB.
RUN = 8
# A single pair of columns needs no expanded tile twice: a ring of so many stays in L1.
RING = 4
# k tiles by which expansion is ahead: their lines have left the store buffer when they are loaded as tiles.
AHEAD = 2
# Eight steps of masks: latency of L3, about 100 ns, is four at 110 clocks a step.
_STREAM_AHEAD = 2048

Code = Callable[..., Any]


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
    expand: Code | None = None
    mask_bytes: int = 0

    @property
    def step_bytes(self) -> int:
        """Of the A tiles of one k tile of a strip."""
        return 2 * self.planes * TILE_BYTES


@dataclass(frozen=True, slots=True)
class _Layout:
    """How B lies.

    vectors, columns    groups of sixteen lanes in a panel, and in a step
    stride, advance     bytes between the rows of a tile, and between k tiles
    """

    vectors: int
    columns: int
    stride: int
    advance: int


def _layout(width: int, form: TileForm) -> _Layout:
    vectors = width // 16
    if form.kind == "bf16":
        return _Layout(vectors, min(2, vectors), 64, form.planes * TILE_BYTES)
    return _Layout(vectors, min(2, vectors), 4 * width, 64 * width)


def _expander(form: TileForm, expand: Code) -> Code:
    """(source, masks, target) -> the source after one k tile's A tiles, expanded plane by plane."""
    planes, mask_bytes = form.planes, form.mask_bytes
    mask_lines, lines = 2 * mask_bytes // 64, (4 if form.kind == "u8s8" else 8) * planes

    @inner
    def expand_step(source: int, masks: int, target: int) -> int:
        for line in range(mask_lines):
            prefetch(masks + _STREAM_AHEAD + 64 * line)
        for line in range(lines):
            prefetch(source + _STREAM_AHEAD + 64 * line)
        for plane in range(planes):
            source = expand(source, masks, target + 2 * plane * TILE_BYTES)
            source = expand(source, masks + mask_bytes, target + (2 * plane + 1) * TILE_BYTES)
        return source

    return expand_step


def _offsets(form: TileForm) -> tuple[int, int, int]:
    """Where in scratch the waiting block's record, the expanded tiles and the sums begin."""
    pending = TILE_MEMORY
    expanded = pending + PENDING_BYTES
    tiles = 0 if form.expand is None else max(form.chunk, RING)
    return pending, expanded, expanded + tiles * form.step_bytes


def tile_scratch(form: TileForm) -> Callable[[int], int]:
    """Bytes of scratch by panel width."""
    return lambda width: _offsets(form)[2] + RUN * ROWS * width * 4


def _dense_steps(form: TileForm, layout: _Layout, operations: TileSteps) -> Code:
    """The inner function that adds the products of a chunk of k to a block's sums; returns the next line to ask for.

    (args, scratch, first A tiles, B, gap of B's columns, k tiles, 1 if the first of these is loaded already,
    line to ask for, unused, lines a k tile)
    """
    stride, advance, step_bytes = layout.stride, layout.advance, form.step_bytes
    pending, load, products = _offsets(form)[0], operations.load, operations.multiply
    finish = unit_finisher(form.kind)

    @inner
    def multiply(
        args: int,
        scratch: int,
        w: int,
        x: int,
        gap: int,
        steps: int,
        loaded: int,
        following: int,
        masks: int,
        lines: int,
    ) -> int:
        rate, units, asked = units_a_step(scratch + pending, steps), 0, following
        for t in range(steps):
            if t >= loaded:
                load(scratch, w + t * step_bytes, x + t * advance, gap, stride)
            finish(args, scratch + pending, units >> 16, (units + rate) >> 16)
            units += rate
            asked += 64 * lines
            while following < asked:
                prefetch_l2(following)
                following += 64
            products(scratch, w + t * step_bytes, x + t * advance, gap, stride)
        return following

    return multiply


def _compressed_steps(form: TileForm, layout: _Layout, operations: TileSteps, expand: Code) -> Code:
    """The same where A tiles are expanded; returns the stream behind what was.

    (args, scratch, expanded tiles, B, gap, k tiles, loaded, stream, masks or 0: they are expanded already, ring)
    """
    stride, advance, step_bytes = layout.stride, layout.advance, form.step_bytes
    pending, mask_bytes = _offsets(form)[0], 2 * form.mask_bytes
    load, products = operations.load, operations.multiply
    finish = unit_finisher(form.kind)

    @inner
    def multiply(
        args: int,
        scratch: int,
        w: int,
        x: int,
        gap: int,
        steps: int,
        loaded: int,
        source: int,
        masks: int,
        ring: int,
    ) -> int:
        rate, units = units_a_step(scratch + pending, steps), 0
        # What is not loaded yet is expanded only: two k tiles before the first products.
        for t in range(-AHEAD if masks != 0 else 0, steps):
            a, b = w + (t & ring) * step_bytes, x + t * advance
            if t >= loaded:
                load(scratch, a, b, gap, stride)
            if t >= 0:
                finish(args, scratch + pending, units >> 16, (units + rate) >> 16)
                units += rate
            if masks != 0 and t + AHEAD < steps:
                source = expand(source, masks, w + ((t + AHEAD) & ring) * step_bytes)
                masks += mask_bytes
            if t >= 0:
                products(scratch, a, b, gap, stride)
        return source

    return multiply


def _lane_groups(layout: _Layout) -> Code:
    """The inner function (args record, panel, panels): groups of sixteen lanes of a run that are multiplied.

    Of the last panel only those that hold lanes, in whole steps.
    """
    vectors, columns = layout.vectors, layout.columns

    @inner
    def lane_groups(a: Any, panel: int, panels: int) -> int:
        held = vectors * (panels - 1) + lane_bytes_of(a, panel + panels - 1) // 64
        groups: int = (held + columns - 1) // columns * columns
        return groups

    return lane_groups


def _block_end(form: TileForm, layout: _Layout, operations: TileSteps) -> Code:
    """The inner function that stores a block's sums, and lets them wait for their epilogue if they are whole.

    (args, scratch, sums, is whole, first row, panel, lane bytes, first A tiles, B of the next block or 0, gap)
    """
    pending, stride, columns = _offsets(form)[0], layout.stride, layout.columns
    load, save = operations.load, operations.save

    @inner
    def end_block(
        args: int,
        scratch: int,
        sums: int,
        whole: bool,
        row: int,
        panel: int,
        lane_bytes: int,
        w: int,
        x: int,
        gap: int,
    ) -> None:
        pending_of(scratch + pending).units = 0
        if x != 0:
            # The next block's first tiles: behind the stores, loads were seen to wait for them.
            load(scratch, w, x, gap, stride)
        save(scratch, sums)
        if whole:
            wait(args, scratch + pending, sums, columns, row, panel, lane_bytes)

    return end_block


def _run_product(form: TileForm, layout: _Layout, operations: TileSteps) -> Code:
    """The inner function (args, scratch, strip, panel, panels, ahead): sums of a strip by a run of panels."""
    begin, resume, end_block = operations.begin, operations.resume, _block_end(form, layout, operations)
    compressed, split = form.expand is not None, form.kind == "bf16"
    chunk, step_bytes = form.chunk, form.step_bytes
    if form.expand is None:
        multiply = _dense_steps(form, layout, operations)
    else:
        multiply = _compressed_steps(form, layout, operations, _expander(form, form.expand))
    _, expanded, sums = _offsets(form)
    lane_groups = _lane_groups(layout)
    vectors, columns, advance = layout.vectors, layout.columns, layout.advance
    plane_bytes, mask_bytes, lines = form.planes * TILE_BYTES, 2 * form.mask_bytes, step_bytes // 64 * columns
    block_bytes = 2 * columns * TILE_BYTES

    @inner
    def multiply_run(args: int, scratch: int, strip: int, panel: int, panels: int, ahead: int) -> None:
        a = product_of(args)
        last, gap = lane_groups(a, panel, panels), a.k * plane_bytes if split else 64
        masks, w = a.w_index + 8 * a.strips + strip * a.k * mask_bytes, scratch + expanded
        part, ring = (a.k, RING - 1) if last == columns else (chunk, -1)
        if compressed:
            source = a.w + read_i64(a.w_index + 8 * strip)
        else:
            # What is asked for: the next strip, if there is one, spread over the steps of this one.
            source = a.w + (strip + 1) * a.k * step_bytes
            ring = (lines + last - 1) // last * (ahead != 0)
        for first in range(0, a.k, part):
            steps = least(part, a.k - first)
            if not compressed:
                w = a.w + (strip * a.k + first) * step_bytes
            begun = a.x + panel * a.x_panel + first * advance
            x, loaded = begun, 0
            for column in range(0, last, columns):
                block = scratch + sums + column // columns * block_bytes * (steps < a.k)
                if first == 0:
                    begin(scratch)
                else:
                    resume(scratch, block)
                fresh = (masks + first * mask_bytes) * (column == 0)
                source = multiply(args, scratch, w, x, gap, steps, loaded, source, fresh, ring)
                taken, lane_bytes = panel + column // vectors, 64 * (column % vectors)
                following, whole = column + columns, first + steps == a.k
                x = begun + following // vectors * a.x_panel + following % vectors * gap
                x, loaded = x * (following < last), 1
                end_block(args, scratch, block, whole, ROWS * strip, taken, lane_bytes, w, x, gap)

    return multiply_run


def tile_kernel(family: str, width: int, form: TileForm) -> Kernel:
    """The kernel that multiplies strips of 32 rows by panels of `width` lanes."""
    layout = _layout(width, form)
    operations = tile_steps(form.kind, form.planes, layout.columns)
    configure, release = operations.unit.configure, operations.unit.release
    multiply_run, pending = _run_product(form, layout, operations), _offsets(form)[0]

    @kernel(family, f"{ROWS}x{16 * layout.columns}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        configure(scratch)
        waiting = pending_of(scratch + pending)
        waiting.units = 0
        index = tile_begin
        while index < tile_end:
            strip, panel, panels = strip_and_run(a, index, tile_end, RUN)
            index += panels
            multiply_run(args, scratch, strip, panel, panels, tile_end - index)
        # From unit 0, which as a literal would have `finish_units` compiled once more.
        finish_units(args, scratch + pending, index - tile_end, waiting.units)
        release(scratch)

    return multiply


def tile_kernels(family: str, form: TileForm) -> dict[int, Kernel]:
    """One kernel for every panel width."""
    return {width: tile_kernel(family, width, form) for width in (16, 32, 64)}
