"""Dense bfloat16 on tiles, sums in float32: only where the user asked for `precision="bf16"`."""

from __future__ import annotations

import numpy as np

from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.products.tile_cost import tile_costs
from engine.kernels.products.tile_epilogue import TILE_FINISHERS
from engine.kernels.products.tile_packing import k_tiles, pack_tiles
from engine.kernels.products.tile_strips import RUN, TileForm, tile_kernels, tile_scratch
from engine.kernels.row import Array, PackedWeights, ProductRow
from engine.kernels.simd.tiles import tile_unit

# The A tiles of 24 k tiles, 48 KiB, stay in L1 while B streams past it.
_FORM = TileForm("bf16", 1, chunk=24)


def _pack(w: Array) -> PackedWeights:
    return pack_tiles(w, np.dtype(np.uint16), lambda part: bf16_parts(part, 1))


ROW = ProductRow(
    family="amx_bf16",
    operand="f32",
    reads="planes1",
    kernels=tile_kernels("amx_bf16", _FORM),
    pack=_pack,
    k_steps=lambda k: k_tiles(k, 2),
    cost=tile_costs(2, 1, compressed=False),
    scratch=tile_scratch(_FORM),
    precision="bf16",
    emulated=tile_unit("bf16").emulated,
    run=RUN,
    finishers=TILE_FINISHERS,
)
