"""Compressed int8 on tiles: 1 bit a weight and the nonzero bytes, expanded into L1 on the way to the tile.

Arithmetic is that of the dense tiles; memory traffic falls with the zeros.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.products.tile_cost import tile_costs
from engine.kernels.products.tile_epilogue import TILE_FINISHERS
from engine.kernels.products.tile_packing import compress_tiles, k_tiles
from engine.kernels.products.tile_strips import RUN, TileForm, tile_kernels, tile_scratch
from engine.kernels.row import Array, PackedWeights, ProductRow
from engine.kernels.simd.expand import HAS_EXPAND, expand_bytes
from engine.kernels.simd.tiles import tile_unit

_FORM = TileForm("u8s8", 1, chunk=24, expand=expand_bytes, mask_bytes=128)


def _pack(w: Array) -> PackedWeights:
    return compress_tiles(w, np.dtype(np.int8), lambda part: [part])


ROW = ProductRow(
    family="amx_int8_compressed",
    operand="u8",
    reads="quads",
    kernels=tile_kernels("amx_int8_compressed", _FORM),
    pack=_pack,
    k_steps=lambda k: k_tiles(k, 1),
    cost=tile_costs(1, 1, compressed=True),
    scratch=tile_scratch(_FORM),
    emulated=tile_unit("u8s8").emulated or not HAS_EXPAND,
    run=RUN,
    finishers=TILE_FINISHERS,
)
