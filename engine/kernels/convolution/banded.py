"""A product over windows whose planes are never laid out as a whole either: band by band, each where its member works.

    tile:  rows of images ── planes of a band, to scratch ── windows of a panel ── a product kernel ── next panel ..

Planes of a whole image are larger than the caches where images are: they were written to memory and read back.
"""

from __future__ import annotations

import numpy as np

from engine.jit import kernel, record
from engine.kernels.convolution.fused import run_product
from engine.kernels.convolution.planes import PLANES, planes_of
from engine.kernels.convolution.records import copy_record, run_kernel, whole_lines
from engine.kernels.convolution.windows import RUNS_BYTES, find_runs, gather, windows_of
from engine.kernels.simd.arithmetic import least
from engine.kernels.simd.memory import read_i32, write_i64

BANDED = np.dtype(
    [
        (name, np.int64)
        for name in (
            "planes",  # address of a PLANES record of a band, whose y and first row are not used
            "planes_kernel",  # address of the kernel that lays them out
            "windows",  # address of a WINDOWS record over a band's planes, whose x and y are not used
            "product",  # address of a PRODUCT record, whose x is not used; its panel_block is 1
            "kernel",  # address of the product kernel
            "strips",
            "image_panels",  # panels of an image: no panel holds pixels of two
            "bands",  # of an image
            "band",  # panels of a band; the last has what is left
            "copies",  # places in scratch: where each vector of planes is
            "own",  # the record at hand: of planes, of the product
            "panel",  # a panel of windows
            "rest",  # the product kernel's scratch
        )
    ],
    align=True,
)
banded_of = record(BANDED)


_PLANES_BYTES = PLANES.itemsize
_Y, _ABOVE = (int(PLANES.fields[name][1]) for name in ("y", "above"))  # type: ignore[index]
# Bytes of the record that planes are laid out by.
PLANES_RECORD = whole_lines(_PLANES_BYTES)


@kernel("convolution_bands")
def convolve_bands(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """A tile is a band of an image's panels, and all rows of the result."""
    a = banded_of(args)
    p, w = planes_of(a.planes), windows_of(a.windows)
    runs, own, x = scratch, scratch + a.own, scratch + a.panel
    for index in range(tile_begin, tile_end):
        image = index // a.bands
        first = (index - image * a.bands) * a.band
        above = first * (w.row_bytes // 4) // w.width
        planes, channel = scratch + RUNS_BYTES, image * p.channels
        copy_record(a.planes, own, _PLANES_BYTES)
        write_i64(planes - channel * p.channel_bytes, own + _Y)
        write_i64(above, own + _ABOVE)
        run_kernel(a.planes_kernel, own, channel, channel + p.channels, scratch + a.copies)
        planes -= 4 * above * w.plane_pitch
        begin = image * a.image_panels
        for panel in range(begin + first, begin + least(first + a.band, a.image_panels)):
            found, y = find_runs(w, panel, runs), x
            for tap in range(w.taps):
                gather(w, planes + read_i32(w.offsets + 4 * tap), y, w.channels, runs, found)
                y += w.channels * w.row_bytes
            run_product(a.product, a.kernel, own, x, panel * a.strips, a.strips, scratch + a.rest)
