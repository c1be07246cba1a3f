"""Sparse float32 weights: single nonzeros in sorted row groups (see products/groups.py).

    entries  8 bytes each: float32 weight, uint32 k; a group's alternate i, j, i, j, ...

Short rows are padded with weight 0 at the block's first k.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.products.groups import GROUP, PADDING, Arrangement, Units, band_headers, pack_bands
from engine.kernels.row import Array, PackedWeights

ENTRY = np.dtype([("weight", np.float32), ("k", np.uint32)])


def pack(w: Array, band_rows: int, block_k: int) -> PackedWeights:
    """float32 w[m, k], any strides, into bands of `band_rows` rows and blocks of `block_k` features."""
    w = np.ascontiguousarray(w)
    m, k = w.shape
    row, at = np.nonzero(w)
    value = np.zeros(row.size, ENTRY)
    value["weight"], value["k"] = w[row, at], at

    def serialize(band: Arrangement, values: Array) -> Array:
        return serialize_entries(band, values, block_k)

    entries, index = pack_bands(m, band_rows, -(-k // block_k), Units(row, at // block_k, value), serialize)
    return PackedWeights(entries, index, m, k, -(-m // band_rows), band_rows, row.size)


def serialize_entries(band: Arrangement, values: Array, block_k: int) -> Array:
    """Entries in the order of the groups; padding has weight 0 and the block's first k."""
    stream = np.zeros(band.source.size, values.dtype)
    stream["k"] = band.block * block_k
    real = band.source != PADDING
    stream[real] = values[band.source[real]]
    return stream


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
