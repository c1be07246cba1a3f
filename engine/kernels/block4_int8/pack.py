"""Sparse int8 weights in blocks of four: quads that are not all zero, in sorted row groups (products/groups.py).

    entries  8 bytes each: int8 weights of k, k + 1, k + 2, k + 3; uint32 k / 4; a group's alternate i, j, ...

Short rows are padded with weights 0 at the block's first quad. Any matrix may be packed so; it pays where
whole quads are zero, as block pruning leaves them.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.products.group_streams import QUAD_BITS
from engine.kernels.products.groups import GROUP, band_headers, pack_words
from engine.kernels.row import Array, PackedWeights

ENTRY = np.dtype([("weights", np.int8, (4,)), ("k", np.uint32)])


def quads_of(w: Array) -> Array:
    """int8 w[m, k] as [m, quads, 4], the last quad filled with zeros."""
    m, k = w.shape
    full = np.zeros((m, -(-k // 4) * 4), np.int8)
    full[:, :k] = w
    return full.reshape(m, -1, 4)


def pack(w: Array, band_rows: int, block_quads: int) -> PackedWeights:
    """int8 w[m, k], any strides, into bands of `band_rows` rows and blocks of `block_quads` quads."""
    m, k = w.shape
    values = quads_of(w).view(np.int32)[..., 0]
    entries, index = pack_words(values, band_rows, block_quads, QUAD_BITS, ENTRY)
    return PackedWeights(entries, index, m, k, -(-m // band_rows), band_rows, int(np.count_nonzero(w)))


def unpack(packed: PackedWeights, block_quads: int) -> Array:
    """The matrix that `pack` was given."""
    quads = -(-packed.k // 4)
    w = np.zeros((packed.strips, packed.strip_rows + 1, quads, 4), np.int8)
    for band, (entry, groups) in enumerate(
        band_headers(packed.index, packed.strips, -(-quads // block_quads))
    ):
        place = entry
        for count, *rows in groups:
            group = packed.entries[place : place + count * GROUP].reshape(count, GROUP)
            for side, row in enumerate(rows):
                np.add.at(w[band, row], group["k"][:, side], group["weights"][:, side])
            place += count * GROUP
    return np.ascontiguousarray(w[:, :-1].reshape(-1, quads * 4)[: packed.m, : packed.k])
