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
from engine.kernels.products.groups import GROUP, arrange, unpack_bytes
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


def _group(words: Array, count: int) -> tuple[int, Array, Array]:
    size = 2 * GROUP * count + 1
    weights = words[: GROUP * count].view(np.int8).reshape(count, GROUP, 4)[..., 1::2]
    ks = words[GROUP * count + 1 : size].view(np.uint16).reshape(count, GROUP, 2)
    return size, weights, ks.astype(np.int64)


def unpack(packed: PackedWeights, block_k: int) -> Array:
    """The matrix that `pack` was given."""
    return unpack_bytes(packed, block_k, _group)
