"""Dense int8 on tiles: u8 quads as they stand, s8 weights, exact int32 sums."""

from __future__ import annotations

import numpy as np

from engine.kernels.products.tile_cost import tile_costs
from engine.kernels.products.tile_epilogue import TILE_FINISHERS
from engine.kernels.products.tile_packing import k_tiles, pack_tiles
from engine.kernels.products.tile_strips import RUN, TileForm, tile_kernels, tile_scratch
from engine.kernels.row import Array, PackedWeights, ProductRow
from engine.kernels.simd.tiles import tile_unit

# The A tiles of 24 k tiles, 48 KiB, stay in L1 while B streams past it.
_FORM = TileForm("u8s8", 1, chunk=24)


def _pack(w: Array) -> PackedWeights:
    return pack_tiles(w, np.dtype(np.int8), lambda part: [part])


ROW = ProductRow(
    family="amx_int8",
    operand="u8",
    reads="quads",
    kernels=tile_kernels("amx_int8", _FORM),
    pack=_pack,
    k_steps=lambda k: k_tiles(k, 1),
    cost=tile_costs(1, 1, compressed=False),
    scratch=tile_scratch(_FORM),
    emulated=tile_unit("u8s8").emulated,
    run=RUN,
    finishers=TILE_FINISHERS,
)
