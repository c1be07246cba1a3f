"""Where a pixel lies: one record for images as ONNX has them and for lane panels.

    ONNX        [image][channel][pixel]            one panel an image, its row as long as the image
    panels      [panel][channel][lane 0 .. 63]     see kernels/layout.py

A pixel is 32 bits: a float32, or a quad of four channels of bytes. Pixel p of image i has lane i * pitch + p.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner, kernel, record
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import load_f32, read_f32, read_u8, store_f32, write_f32, write_u8

_PLACE = ("base", "row", "panel", "width", "pitch")
# base    address of channel 0, lane 0
# row     bytes from channel to channel (from quad to quad)
# panel   bytes from panel to panel
# width   lanes of a panel
# pitch   lanes from image to image
PLACE = [(name, np.int64) for name in _PLACE]
PIXELS = np.dtype(
    [
        *((f"x_{name}", np.int64) for name in _PLACE),
        *((f"y_{name}", np.int64) for name in _PLACE),
        ("channels", np.int64),
        ("pixels", np.int64),
        ("fill", np.int64),  # lanes of y behind the pixels that are to be set to zero
    ],
    align=True,
)
pixels_of = record(PIXELS)


@inner
def copy_exactly(x: int, y: int, count: int) -> None:
    """`count` numbers of 32 bits, nothing beyond them touched."""
    if count >= 16:
        for at in range(0, count - 15, 16):
            store_f32(load_f32(x + 4 * at), y + 4 * at)
        # The last vector overlaps the one before it.
        store_f32(load_f32(x + 4 * count - 64), y + 4 * count - 64)
    else:
        for at in range(count):
            write_f32(read_f32(x + 4 * at), y + 4 * at)


@inner
def lane_address(base: int, panel: int, width: int, lane: int) -> int:
    """The address of a lane in a row whose lane 0 is at base."""
    index = lane // width
    return base + index * panel + 4 * (lane - index * width)


@inner
def _x_address(a: Any, channel: int, lane: int) -> int:
    return lane_address(a.x_base + channel * a.x_row, a.x_panel, a.x_width, lane)


@inner
def _y_address(a: Any, channel: int, lane: int) -> int:
    return lane_address(a.y_base + channel * a.y_row, a.y_panel, a.y_width, lane)


# Pixels of a tile of `move_pixels`: those of a panel, so that panels are walked row by row.
CHUNK = 64


@kernel("move_pixels")
def move_pixels(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """From one layout to another: a tile is some pixels of an image, of all channels."""
    a = pixels_of(args)
    chunks = (a.pixels + CHUNK - 1) // CHUNK
    for tile in range(tile_begin, tile_end):
        image = tile // chunks
        pixel = CHUNK * (tile - image * chunks)
        end = least(pixel + CHUNK, a.pixels)
        is_last = end == a.pixels
        while pixel < end:
            lane_x, lane_y = image * a.x_pitch + pixel, image * a.y_pitch + pixel
            run = least(a.x_width - lane_x % a.x_width, a.y_width - lane_y % a.y_width)
            run = least(run, end - pixel)
            x, y = _x_address(a, 0, lane_x), _y_address(a, 0, lane_y)
            for _ in range(a.channels):
                copy_exactly(x, y, run)
                x += a.x_row
                y += a.y_row
            pixel += run
        for behind in range(a.fill if is_last else 0):
            y = _y_address(a, 0, image * a.y_pitch + a.pixels + behind)
            for channel in range(a.channels):
                write_f32(np.float32(0), y + channel * a.y_row)


@kernel("pixels_to_quads_u8")
def to_quads(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Bytes [image][channel][pixel] to quads: a tile is four channels of an image. x_row is that of one channel."""
    a = pixels_of(args)
    quads = (a.channels + 3) // 4
    for tile in range(tile_begin, tile_end):
        image = tile // quads
        quad = tile - image * quads
        for pixel in range(a.pixels + a.fill):
            y = _y_address(a, quad, image * a.y_pitch + pixel)
            for part in range(4):
                is_there = pixel < a.pixels and 4 * quad + part < a.channels
                source = a.x_base + image * a.x_panel + (4 * quad + part) * a.x_row + pixel
                write_u8(read_u8(source) if is_there else 0, y + part)


@kernel("quads_to_pixels_u8")
def to_bytes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Quads to bytes [image][channel][pixel]: a tile is a channel of an image. y_row is that of one channel."""
    a = pixels_of(args)
    for tile in range(tile_begin, tile_end):
        image = tile // a.channels
        channel = tile - image * a.channels
        y = a.y_base + image * a.y_panel + channel * a.y_row
        for pixel in range(a.pixels):
            x = _x_address(a, channel // 4, image * a.x_pitch + pixel)
            write_u8(read_u8(x + channel % 4), y + pixel)
