"""Sparse float32 weights: single nonzeros in sorted row groups (see products/groups.py).

    entries  8 bytes each: float32 weight, uint32 k; a group's alternate i, j, i, j, ...

Short rows are padded with weight 0 at the block's first k.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.products.group_streams import FLOAT_BITS
from engine.kernels.products.groups import GROUP, band_headers, pack_words
from engine.kernels.row import Array, PackedWeights

ENTRY = np.dtype([("weight", np.float32), ("k", np.uint32)])


def pack(w: Array, band_rows: int, block_k: int) -> PackedWeights:
    """float32 w[m, k], any strides, into bands of `band_rows` rows and blocks of `block_k` features."""
    w = np.ascontiguousarray(w)
    m, k = w.shape
    entries, index = pack_words(w, band_rows, block_k, FLOAT_BITS, ENTRY)
    return PackedWeights(entries, index, m, k, -(-m // band_rows), band_rows, int(np.count_nonzero(w)))


def unpack(packed: PackedWeights, block_k: int) -> Array:
    """The matrix that `pack` was given."""
    w = np.zeros((packed.strips, packed.strip_rows + 1, packed.k), np.float32)
    for band, (entry, groups) in enumerate(
        band_headers(packed.index, packed.strips, -(-packed.k // block_k))
    ):
        place = entry
        for count, *rows in groups:
            group = packed.entries[place : place + count * GROUP].reshape(count, GROUP)
            for side, row in enumerate(rows):
                np.add.at(w[band, row], group["k"][:, side], group["weight"][:, side])
            place += count * GROUP
    return np.ascontiguousarray(w[:, :-1].reshape(-1, packed.k)[: packed.m])
