"""Compressed bfloat16 on tiles: 1 bit a weight and the nonzero words. Only with `precision="bf16"`."""

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

_FORM = TileForm("bf16", 1, chunk=24, expand=expand_words, mask_bytes=64)


def _pack(w: Array) -> PackedWeights:
    return compress_tiles(w, np.dtype(np.uint16), lambda part: bf16_parts(part, 1))


ROW = ProductRow(
    family="amx_bf16_compressed",
    operand="f32",
    reads="planes1",
    kernels=tile_kernels("amx_bf16_compressed", _FORM),
    pack=_pack,
    k_steps=lambda k: k_tiles(k, 2),
    cost=tile_costs(2, 1, compressed=True),
    scratch=tile_scratch(_FORM),
    precision="bf16",
    emulated=tile_unit("bf16").emulated or not HAS_EXPAND,
    run=RUN,
    finishers=TILE_FINISHERS,
)
