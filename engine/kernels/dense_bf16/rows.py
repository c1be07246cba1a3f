"""Dense bfloat16 in vector registers, sums in float32: only where the user asked for `precision="bf16"`.

    w[m][k]  ->  [strip][pair of k][12][2 k's]       strips of twelve rows, as products/strips.py has them
    x            planes of bfloat16 (see bf16_planes): a vector of sixteen lanes, all its k, then the next vector

One vdpbf16ps multiplies two k's of sixteen lanes: twice the arithmetic of float32.
"""

from __future__ import annotations

import numpy as np

from engine.jit import Kernel, kernel
from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.cost import Coefficients, Work, dense_work
from engine.kernels.products.arguments import STREAM_AHEAD, STRIP, product_of, strip_and_panel
from engine.kernels.products.finishers import finish
from engine.kernels.products.strips import strip_count, strip_scratch, tile_shape
from engine.kernels.row import Array, Cost, PackedWeights, ProductRow, ProductShape, aligned
from engine.kernels.simd.memory import prefetch
from engine.kernels.simd.pairs import HAS_PAIRS
from engine.kernels.simd.tile import tile_operations


def _pairs(k: int) -> int:
    return -(-k // 2)


def pack(w: Array) -> PackedWeights:
    """float32 w[m, k], any strides, rounded to bfloat16, into strips of twelve rows of pairs."""
    m, k = w.shape
    strips, pairs = strip_count(m), _pairs(k)
    full = np.zeros((strips * STRIP, pairs * 2), np.uint16)
    full[:m, :k] = bf16_parts(w, 1)[0]
    packed = aligned((strips, pairs, STRIP, 2), np.uint16)
    packed[:] = full.reshape(strips, STRIP, pairs, 2).transpose(0, 2, 1, 3)
    return PackedWeights(packed, aligned(0, np.int32), m, k, strips, STRIP, int(np.count_nonzero(w)))


def _strip_kernel(width: int) -> Kernel:
    """The kernel that multiplies one strip by one panel of `width` lanes."""
    shape = tile_shape(width)
    tile = tile_operations(shape.rows, shape.vectors, "bf16")
    zero, step, save = tile.zero, tile.step, tile.save
    rows, vectors, of_panel, strip_bytes = shape.rows, shape.vectors, width // 16, 4 * STRIP

    @kernel("dense_bf16", f"{shape.rows}x{16 * shape.vectors}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        row_bytes, pairs = a.row_bytes, a.k
        apart = a.x_panel // of_panel
        for index in range(tile_begin, tile_end):
            strip, panel = strip_and_panel(a, index)
            weights = a.w + strip * pairs * strip_bytes
            for row in range(0, STRIP, rows):
                for vector in range(0, of_panel, vectors):
                    x = a.x + panel * a.x_panel + vector * apart
                    w = weights + 4 * row
                    sums = zero()
                    for _ in range(pairs // 2):
                        # Two steps are 96 bytes: no line is left out.
                        prefetch(w + STREAM_AHEAD)
                        prefetch(w + STREAM_AHEAD + 64)
                        sums = step(sums, w, 4, x, apart)
                        sums = step(sums, w + strip_bytes, 4, x + 64, apart)
                        w += 2 * strip_bytes
                        x += 128
                    if pairs % 2 != 0:
                        sums = step(sums, w, 4, x, apart)
                    save(sums, scratch + row * row_bytes + 64 * vector, row_bytes)
            finish(a.epilogue, scratch, strip * STRIP, STRIP, panel)

    return multiply


def _work(shape: ProductShape) -> Work:
    return dense_work(shape.m, shape.k, shape.lanes, _pairs(shape.k), shape.lanes.vectors)


# Measured on an EPYC (Zen 4) as `python -m engine.warm --calibrate` does; where vdpbf16ps is missing nobody asks.
_COEFFICIENTS = {
    "generic": {
        16: Coefficients(0.271, 0, 9.6, 3, 0.000755),
        32: Coefficients(0.273, 0, 7.8, 3.3, 0.00153),
        64: Coefficients(0.289, 0, 4.4, 2.4, 0.000957),
    },
}

ROW = ProductRow(
    family="dense_bf16",
    operand="f32",
    reads="planes1",
    kernels={width: _strip_kernel(width) for width in (16, 32, 64)},
    pack=pack,
    k_steps=_pairs,
    cost=Cost(_work, _COEFFICIENTS),
    scratch=strip_scratch,
    precision="bf16",
    emulated=not HAS_PAIRS,
)
