"""Float32 windows that see one channel, where rows of the image and of the result can lie at one pitch.

    image of a channel, by phases       p0 p1 .. | row 1 .. | row 2 ..        row after row, nothing between them
    results                             r0 r1 .. | row 1 .. | row 2 ..        of the same pitch: whole vectors of panels

    sums[pixel] += w[tap] * phase of tap[pixel + offset of tap]     only where the tap's column is one of the image

So neither is padding laid out nor are rows of results joined: what a vector reads of a neighbouring row is left out by a
mask for each column of taps. A tile is four channels of a band of vectors, few enough for the band to stay in L1; sums
leave the registers through the bounds of products/direct.py, or to scratch for a finisher.

    strides of 1, pitch of the image     lanes are copied as they lie, or read where they lie together with zeros around
    others                               row by row and phase by phase, from lanes copied first, or from whole vectors
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from engine.jit import inner, kernel
from engine.kernels.convolution.flat_places import CHANNELS, ENTRY, TOGETHER, flat_of
from engine.kernels.convolution.flat_sums import any_window, three_by_three, three_neighbours
from engine.kernels.products.direct import Direct, direct_of
from engine.kernels.products.epilogue import epilogue_of
from engine.kernels.products.finishers import finish_lanes
from engine.kernels.simd.arithmetic import least, splat_f32
from engine.kernels.simd.memory import load_f32, read_f32, read_i64, store_f32, write_f32, write_i64
from engine.kernels.simd.neighbours import evens_of, odds_of


@inner
def _find_lanes(a: Any, image: int, first: int, end: int, copies: int) -> int:
    """Where each vector of the image's lanes from `first` on lies; how many there are before `end`."""
    found, lane = 0, image * a.x_pitch + first
    panel = lane // a.x_width
    within = lane - panel * a.x_width
    place = panel * a.x_panel
    for _ in range(first, end, 16):
        write_i64(place + 4 * within, copies + 8 * found)
        found += 1
        within += 16
        if within >= a.x_width:
            within -= a.x_width
            place += a.x_panel
    return found


@inner
def _copy_lanes(x: int, copies: int, count: int, y: int) -> None:
    for at in range(0, 8 * count, 8):
        store_f32(load_f32(x + read_i64(copies + at)), y + 8 * at)


@inner
def clear(y: int, count: int) -> None:
    """Whole vectors from y on, for so many numbers at least."""
    for at in range(0, 4 * count, 64):
        store_f32(splat_f32(np.float32(0)), y + at)


@inner
def _lay_pairs(a: Any, x: int, copies: int, y: int) -> None:
    """A row of whole vectors of panels, at stride 2."""
    for at in range(0, 4 * a.pitch, 64):
        first, second = load_f32(x + read_i64(copies)), load_f32(x + read_i64(copies + 8))
        store_f32(evens_of(first, second), y + at)
        store_f32(odds_of(first, second), y + a.plane_bytes + at)
        copies += 16


@inner
def _lay_line(a: Any, x: int, y: int) -> None:
    """A row that lies together, by phases."""
    if a.across == 1:
        for at in range(0, 4 * a.width, 64):
            store_f32(load_f32(x + at), y + at)
    elif a.across == 2:
        for at in range(0, 4 * a.pitch, 64):
            first, second = load_f32(x + 2 * at), load_f32(x + 2 * at + 64)
            store_f32(evens_of(first, second), y + at)
            store_f32(odds_of(first, second), y + a.plane_bytes + at)
    else:
        for column in range(a.width):
            place = column // a.across
            phase = column - place * a.across
            write_f32(read_f32(x + 4 * column), y + phase * a.plane_bytes + 4 * place)


@inner
def _lay_rows(a: Any, x: int, first: int, end: int, origin: int, y: int, lines: int, copies: int) -> None:
    """Rows first .. end - 1 of the phases, in order: what a row's last vector writes too many, the next writes over."""
    for row in range(first, end):
        for phase in range(a.down):
            line, place = row * a.down + phase, y + phase * a.across * a.plane_bytes
            place += 4 * (row - first) * a.pitch
            if line < 0 or line >= a.height:
                for across in range(a.across):
                    clear(place + across * a.plane_bytes, a.pitch)
            elif a.whole != 0:
                _lay_pairs(a, x, copies + (line * a.width - origin) // 2, place)
            else:
                _lay_line(a, lines + 4 * (line * a.width - origin), place)


class Band(NamedTuple):
    """A band of lanes begin .. end - 1.

    first, behind   of what is laid out: places where lanes are copied, else rows of a phase
    origin          lane of the image from which copies are known
    stop            behind the last lane that is seen
    copied          vectors that are copied
    """

    begin: int
    end: int
    first: int
    behind: int
    origin: int
    stop: int
    copied: int


@inner
def find_band(a: Any, image: int, begin: int, end: int, copies: int) -> Band:
    """What the results begin .. end - 1 of an image see, and where its lanes lie, to `copies`."""
    if a.copied != 0:
        first, behind = (begin + a.above * a.pitch) // 16 * 16 - a.margin, end + a.below * a.pitch + a.margin
        origin, stop = 0 if first < 0 else first, least(behind, a.height * a.width)
    else:
        first, behind = begin // a.pitch + a.above, (end - 1) // a.pitch + 1 + a.below
        origin = 0 if first < 0 else first * a.down * a.width // 16 * 16
        stop = least(behind * a.down, a.height) * a.width
    count = 0 if a.in_place != 0 else _find_lanes(a, image, origin, stop, copies)
    if count > 0:
        # A row's last pair of vectors may end one beyond.
        write_i64(read_i64(copies + 8 * count - 8), copies + 8 * count)
    return Band(begin, end, first, behind, origin, stop, count)


@inner
def _find_results(a: Any, e: Any, image: int, band: Band, results: int, direct: int) -> int:
    """Entries of the band's vectors, and as many behind as may be read; the address behind the last of the band's."""
    width, row, lane = e.row_bytes // 4, 2 * a.taps_across, image * a.lane_pitch + band.begin
    panel, turn, entry = lane // width, band.begin // 16 % a.period, results
    within = 4 * (lane - panel * width)
    for at in range(0, band.end - band.begin + 16 * TOGETHER, 16):
        write_i64(panel * e.y_panel + within if direct != 0 else 4 * at, entry)
        write_i64(panel * e.residual_panel + within, entry + 8)
        write_i64(a.masks + turn * row, entry + 16)
        entry, within, turn = entry + ENTRY, within + 64, turn + 1
        if within >= e.row_bytes:
            panel, within = panel + 1, within - e.row_bytes
        if turn == a.period:
            turn = 0
    return results + (band.end - band.begin) // 16 * ENTRY


@inner
def _lay_channel(a: Any, channel: int, band: Band, planes: int, lines: int, copies: int) -> int:
    """All phases of a channel; the address in phase 0 of the band's first result."""
    x = a.x_base + channel * a.x_row
    if a.copied != 0 and a.in_place != 0:
        beside: int = x + 4 * band.begin
        return beside
    if a.copied != 0:
        start, pixels = band.origin - band.first, a.height * a.width
        clear(planes, least(band.origin, band.behind) - band.first)
        _copy_lanes(x, copies, band.copied, planes + 4 * start)
        if band.behind > pixels:
            inside = pixels - band.first if pixels > band.first else 0
            clear(planes + 4 * inside, band.behind - band.first - inside)
        return planes + 4 * (band.begin - band.first)
    if a.whole == 0 and a.in_place != 0:
        lines = x + 4 * band.origin
    elif a.whole == 0:
        _copy_lanes(x, copies, band.copied, lines)
    y = planes + 4 * a.margin
    _lay_rows(a, x, band.first, band.behind, band.origin, y, lines, copies)
    place: int = y + 4 * (band.begin - band.first * a.pitch)
    return place


@inner
def _finish_band(a: Any, image: int, band: Band, first: int, sums: int) -> None:
    """By the finisher, panel by panel."""
    width, lane, stride = epilogue_of(a.epilogue).row_bytes // 4, band.begin, 4 * (a.band + 16)
    while lane < band.end:
        place = image * a.lane_pitch + lane
        lanes = least(width - place % width, band.end - lane)
        finish_lanes(a.epilogue, sums + 4 * (lane - band.begin), stride, first, CHANNELS, place, lanes)
        lane += lanes


@kernel("depthwise_flat_f32", "1x16")
def depthwise_flat(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is four channels of a band of an image."""
    a = flat_of(args)
    e = epilogue_of(a.epilogue)
    d = direct_of(e, e.integer, e.activation, e.store)
    direct = d.on
    if direct == 0:
        d = Direct(0, 0, 0, np.float32(-np.inf), np.float32(np.inf), 4 * (a.band + 16), 1, 0)
    lines, sums = scratch + a.lines, scratch + a.sums
    copies, results = scratch + a.copies, scratch + a.results
    last, behind, band = -1, results, Band(0, 0, 0, 0, 0, 0, 0)
    for index in range(tile_begin, tile_end):
        part = index // a.quads
        first, image = CHANNELS * (index - part * a.quads), part // a.bands
        if part != last:
            begin = (part - image * a.bands) * a.band
            band = find_band(a, image, begin, least(begin + a.band, a.lane_pitch), copies)
            behind = _find_results(a, e, image, band, results, direct)
            last = part
        for channel in range(first, least(first + CHANNELS, e.m)):
            x = _lay_channel(a, channel, band, scratch, lines, copies)
            w, bias = a.w + 4 * channel * a.taps_down * a.taps_across, splat_f32(np.float32(0))
            if d.bias != 0:
                bias = splat_f32(read_f32(d.bias + 4 * channel))
            y, residual = e.y + channel * d.stride, d.residual + channel * d.stride
            if direct == 0:
                y = sums + (channel - first) * d.stride
            if a.neighbours != 0:
                three_neighbours(a, d, x, w, bias, results, behind, y, residual)
            elif a.taps_down == 3 and a.taps_across == 3:
                three_by_three(a, d, x, w, bias, results, behind, y, residual)
            else:
                any_window(a, d, x, w, bias, results, behind, y, residual)
        if direct == 0:
            _finish_band(a, image, band, first, sums)
