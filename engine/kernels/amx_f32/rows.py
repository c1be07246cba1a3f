"""Dense float32 on tiles of bfloat16: both operands are sums of three parts, six of nine products are kept.

What is dropped is below 2**-23 of |w||x| a term; the sums keep the f32 grade, as tests hold. Values that are
not finite give NaN. Source: Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence
Datatype For Higher-Precision Computations".
"""

from __future__ import annotations

import numpy as np

from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.products.tile_cost import tile_costs
from engine.kernels.products.tile_epilogue import TILE_FINISHERS
from engine.kernels.products.tile_packing import k_tiles, pack_tiles
from engine.kernels.products.tile_strips import RUN, TileForm, tile_kernels, tile_scratch
from engine.kernels.row import Array, PackedWeights, ProductRow
from engine.kernels.simd.tiles import tile_unit

_FORM = TileForm("bf16", 3, chunk=24)


def _pack(w: Array) -> PackedWeights:
    return pack_tiles(w, np.dtype(np.uint16), lambda part: bf16_parts(part, 3))


ROW = ProductRow(
    family="amx_f32",
    operand="f32",
    reads="planes3",
    kernels=tile_kernels("amx_f32", _FORM),
    pack=_pack,
    k_steps=lambda k: k_tiles(k, 2),
    cost=tile_costs(2, 3, compressed=False),
    scratch=tile_scratch(_FORM),
    emulated=tile_unit("bf16").emulated,
    run=RUN,
    finishers=TILE_FINISHERS,
)
