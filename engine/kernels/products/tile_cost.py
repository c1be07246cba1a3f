"""What tile products cost, from rates measured on a Xeon with AMX (3.75 GHz, 2 MB L2, one core).

    a step       two by two tiles of 1 KiB, one k tile: four products are 17.1 ns with all operands in
                 registers, 20 with A in L1 and B streamed, 24 in whole layers
    a byte       of weights, from L3, as all layers of a model take turns there: 25 GB/s
    expansion    of the two A tiles of one k tile, before the first pair of columns
"""

from __future__ import annotations

from engine.kernels.products.tile_packing import ROWS, k_tiles
from engine.kernels.row import ProductShape

_STEP_NS, _BYTE_NS, _EXPANSION_NS = 24.0, 0.04, 24.0
# Six products load B tiles once and reuse A from L1: 123 ns for 24 tile products.
_SIX_PRODUCTS = 5.1


def tile_cost(shape: ProductShape, itemsize: int, planes: int, *, compressed: bool) -> float:
    """Nanoseconds of one core for weights of `itemsize` bytes in so many planes."""
    blocks = -(-shape.m // ROWS) * k_tiles(shape.k, itemsize)
    pairs = -(-shape.lanes.vectors // 2)
    products = _STEP_NS * (1.0 if planes == 1 else _SIX_PRODUCTS)
    if not compressed:
        return blocks * pairs * products + _BYTE_NS * itemsize * planes * shape.m * shape.k
    size = itemsize * planes * shape.nonzeros + shape.m * shape.k / 8
    return blocks * (pairs * products + planes * _EXPANSION_NS) + _BYTE_NS * size
