"""Compressed float32 on tiles of bfloat16: 1 bit a weight and three words a nonzero; otherwise as amx_f32."""

from __future__ import annotations

import numpy as np

from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.products.tile_cost import tile_costs
from engine.kernels.products.tile_epilogue import TILE_FINISHERS
from engine.kernels.products.tile_packing import compress_tiles, k_tiles
from engine.kernels.products.tile_strips import RUN, TileForm, tile_kernels, tile_scratch
from engine.kernels.row import Array, PackedWeights, ProductRow
from engine.kernels.simd.expand import HAS_EXPAND, expand_words
from engine.kernels.simd.tiles import tile_unit

# Expanded A tiles of six k tiles, 36 KiB, stay in L1.
_FORM = TileForm("bf16", 3, chunk=6, expand=expand_words, mask_bytes=64)


def _pack(w: Array) -> PackedWeights:
    return compress_tiles(w, np.dtype(np.uint16), lambda part: bf16_parts(part, 3))


ROW = ProductRow(
    family="amx_f32_compressed",
    operand="f32",
    reads="planes3",
    kernels=tile_kernels("amx_f32_compressed", _FORM),
    pack=_pack,
    k_steps=lambda k: k_tiles(k, 2),
    cost=tile_costs(2, 3, compressed=True),
    scratch=tile_scratch(_FORM),
    emulated=tile_unit("bf16").emulated or not HAS_EXPAND,
    run=RUN,
    finishers=TILE_FINISHERS,
)
