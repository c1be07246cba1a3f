"""Dense float32 on tiles of bfloat16: both operands are sums of three parts, six of nine products are kept.

What is dropped is below 2**-23 of |w||x| a term; the sums keep the f32 grade, as tests hold. Values that are
not finite give NaN. Source: Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence
Datatype For Higher-Precision Computations"."""

from __future__ import annotations

from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.products.tile_cost import tile_cost
from engine.kernels.products.tile_packing import k_tiles, pack_tiles
from engine.kernels.products.tile_strips import RUN, TileForm, tile_kernels, tile_scratch
from engine.kernels.row import Array, PackedWeights, ProductRow, ProductShape
from engine.kernels.simd.tiles import tile_unit

_FORM = TileForm("bf16", 3, chunk=24)


def _pack(w: Array) -> PackedWeights:
    return pack_tiles(w, bf16_parts(w, 3))


def _cost(shape: ProductShape) -> float:
    return tile_cost(shape, 2, 3, compressed=False)


ROW = ProductRow(
    family="amx_f32",
    operand="f32",
    reads="planes3",
    kernels=tile_kernels("amx_f32", _FORM),
    pack=_pack,
    k_steps=lambda k: k_tiles(k, 2),
    cost=_cost,
    scratch=tile_scratch(_FORM),
    emulated=tile_unit("bf16").emulated,
    run=RUN,
)
