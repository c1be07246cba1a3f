"""What tile products cost, from rates measured on a Xeon with AMX (3.75 GHz, 2 MB L2, one core).

a step       two by two tiles of 1 KiB, one k tile: four products take 17.1 ns with all operands in
             registers, 20 with A in L1 and B streamed from L2
a byte       of weights, from L3, as all layers of a model take turns there: 25 GB/s
a group      the expansion of the two A tiles of one k tile and plane: 24 ns alone, a third of it hidden
an output    sixteen lanes of a row through the epilogue: 19 ns a block of 64 in small units beside the products
an input     sixteen lanes of a feature into bfloat16 planes
"""

from __future__ import annotations

from engine.kernels.cost import Coefficients, Work
from engine.kernels.products.tile_packing import ROWS, k_tiles
from engine.kernels.row import Cost, ProductShape

_STEP_NS, _EXPANSION_NS, _OUTPUT_NS, _BYTE_NS = 21.0, 16.0, 0.4, 0.04
# Six products load B tiles once and reuse A from L1: 24 tile products in a layer.
_SIX_PRODUCTS_NS = 123.0
# By planes; quads are read as they stand.
_INPUT_NS = {1: 1.7, 3: 5.0}


def tile_work(shape: ProductShape, itemsize: int, planes: int, *, compressed: bool) -> Work:
    """The work of weights of `itemsize` bytes an element in so many planes."""
    lanes = shape.lanes
    held = (lanes.panels - 1) * lanes.width // 16 + lanes.last_bytes // 64
    blocks = -(-shape.m // ROWS) * k_tiles(shape.k, itemsize)
    size = float(itemsize * planes * shape.m * shape.k)
    if compressed:
        size = itemsize * planes * shape.nonzeros + shape.m * shape.k / 8
    steps, expansions = blocks * -(-held // 2), blocks * planes if compressed else 0
    return Work(steps, expansions, shape.m * held, shape.k * lanes.vectors, size)


def tile_costs(itemsize: int, planes: int, *, compressed: bool) -> Cost:
    """The cost of a family: int8 (1 byte, 1 plane), bfloat16 (2, 1), float32 by six products (2, 3)."""
    coefficients = Coefficients(
        _STEP_NS if planes == 1 else _SIX_PRODUCTS_NS,
        _EXPANSION_NS,
        _OUTPUT_NS,
        0.0 if itemsize == 1 else _INPUT_NS[planes],
        _BYTE_NS,
    )
    return Cost(
        lambda shape: tile_work(shape, itemsize, planes, compressed=compressed),
        {"generic": dict.fromkeys((16, 32, 64), coefficients)},
    )
