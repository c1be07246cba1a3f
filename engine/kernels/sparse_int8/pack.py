"""Unstructured sparse int8 weights: pairs of nonzeros in sorted row groups (see products/groups.py).

    entries  uint32 words; a group of n pairs a row is
             n x (pair of row i, pair of row j)   bytes 0, wa, 0, wc
             0                                    so that the word one byte further on ends in a zero
             n x (k's of row i, k's of row j)     uint16 k of wa, uint16 k of wc, within the block

The odd nonzero of a row and block is paired with a weight of 0; short rows are padded with pairs of 0.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.products.groups import GROUP, PADDING, Arrangement, Units, band_headers, pack_bands
from engine.kernels.row import Array, PackedWeights

PAIR = np.dtype([("weights", np.int8, (4,)), ("k", np.uint16, (2,))])


def _pairs(w: Array, block_k: int) -> Units:
    """The nonzeros of each row and block, two at a time."""
    row, k = np.nonzero(w)
    blocks = -(-w.shape[1] // block_k)
    place = row * blocks + k // block_k
    first = np.searchsorted(place, place)
    rank = np.arange(place.size) - first
    fresh = rank % 2 == 0
    unit = np.cumsum(fresh) - 1
    value = np.zeros(int(fresh.sum()), PAIR)
    value["weights"][unit, 1 + 2 * (rank % 2)] = w[row, k]
    value["k"][unit, rank % 2] = k % block_k
    return Units(row[fresh], (k // block_k)[fresh], value)


def _serialize(band: Arrangement, values: Array) -> Array:
    sizes = 2 * GROUP * band.length + 1
    begins = np.cumsum(sizes) - sizes
    words = GROUP * band.length
    group = np.repeat(np.arange(words.size), words)
    within = np.arange(group.size) - np.repeat(np.cumsum(words) - words, words)
    at = begins[group] + within
    stream = np.zeros(int(sizes.sum()), np.uint32)
    real = band.source != PADDING
    taken = values[band.source[real]]
    stream[at[real]] = np.ascontiguousarray(taken["weights"]).view(np.uint32)[:, 0]
    stream[(at + words[group] + 1)[real]] = np.ascontiguousarray(taken["k"]).view(np.uint32)[:, 0]
    return stream


def pack(w: Array, band_rows: int, block_k: int) -> PackedWeights:
    """int8 w[m, k], any strides, into bands of `band_rows` rows and blocks of `block_k` (at most 65,536) features."""
    w = np.ascontiguousarray(w)
    m, k = w.shape
    entries, index = pack_bands(m, band_rows, -(-k // block_k), _pairs(w, block_k), _serialize)
    return PackedWeights(entries, index, m, k, -(-m // band_rows), band_rows, int(np.count_nonzero(w)))


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
