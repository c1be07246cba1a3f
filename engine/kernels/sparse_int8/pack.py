"""Unstructured sparse int8 weights: pairs of nonzeros in sorted row groups (see products/groups.py).

    entries  uint32 words; a group of n pairs a row is
             n x (pair of row i, pair of row j)   bytes 0, wa, 0, wc
             0                                    so that the word one byte further on ends in a zero
             n x (k's of row i, k's of row j)     uint16 k of wa, uint16 k of wc, within the block

The odd nonzero of a row and block is paired with a weight of 0; short rows are padded with pairs of 0.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.products.group_streams import count_bytes, lay_pairs, run
from engine.kernels.products.groups import GROUP, arrange, band_headers
from engine.kernels.row import Array, PackedWeights, aligned


def pack(w: Array, band_rows: int, block_k: int) -> PackedWeights:
    """int8 w[m, k], any strides, into bands of `band_rows` rows and blocks of `block_k` (at most 65,536) features."""
    w = np.ascontiguousarray(w)
    m, k = w.shape
    blocks = -(-k // block_k)
    counts = np.empty((m, blocks), np.int32)
    run(count_bytes, m, w, block=block_k, blocks=blocks, counts=counts.ctypes.data)
    arranged = arrange((counts + 1) // 2, band_rows, lambda length: 2 * GROUP * length + 1)
    entries = aligned(max(arranged.size, 1), np.uint32)
    places = {"groups": arranged.groups.ctypes.data, "entries": entries.ctypes.data}
    run(lay_pairs, len(arranged.groups), w, block=block_k, **places)
    return PackedWeights(entries, arranged.index, m, k, -(-m // band_rows), band_rows, int(counts.sum()))


def unpack(packed: PackedWeights, block_k: int) -> Array:
    """The matrix that `pack` was given."""
    w = np.zeros((packed.strips, packed.strip_rows + 1, packed.k), np.int64)
    blocks = -(-packed.k // block_k)
    for band, (entry, groups) in enumerate(band_headers(packed.index, packed.strips, blocks)):
        head = packed.index[packed.index[band] + 1 :][:blocks]
        block_of = np.repeat(np.arange(blocks), head)
        place = entry
        for (count, *rows), block in zip(groups, block_of, strict=True):
            words = packed.entries[place : place + 2 * GROUP * count + 1]
            weights = words[: GROUP * count].view(np.int8).reshape(count, GROUP, 4)[..., 1::2]
            ks = words[GROUP * count + 1 :].view(np.uint16).reshape(count, GROUP, 2) + block * block_k
            for side, row in enumerate(rows):
                live = weights[:, side] != 0
                np.add.at(w[band, row], ks[:, side][live], weights[:, side][live])
            place += words.size
    return np.ascontiguousarray(w[:, :-1].reshape(-1, packed.k)[: packed.m].astype(np.int8))
