"""Sparse float32 weights in blocks of 4 or 8 consecutive rows at one k: a block that is all zero is not stored.

          k 0   k 1   k 2   k 3
    row 0  a     .     e     .        entries  float32 [block][rows]:  a b c d | e f g h | ...
    row 1  b     .     f     .        index    int32:  first block of each row of blocks, and the end
    row 2  c     .     g     .                         then k of each block:  0, 2, ...
    row 3  d     .     h     .

Rows of blocks follow each other, k's rise in each. Rows beyond m are zero, up to a whole band.
Any matrix may be packed so; it pays where whole blocks are zero, as block pruning leaves them.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.row import Array, PackedWeights, aligned


def _blocks(w: Array, rows: int, multiple: int) -> Array:
    """w[m, k] as [rows of blocks, rows, k], zeros up to a multiple of so many rows."""
    m, k = w.shape
    full = np.zeros((-(-m // multiple) * multiple, k), w.dtype)
    full[:m] = w
    return full.reshape(-1, rows, k)


def alive_blocks(w: Array, rows: int) -> int:
    """Blocks of so many consecutive rows at one k that are not all zero."""
    return int(np.count_nonzero(_blocks(w != 0, rows, rows).any(axis=1)))


def pack(w: Array, rows: int, band_rows: int) -> PackedWeights:
    """float32 w[m, k], any strides, into blocks of `rows` rows; a band is a multiple of them."""
    m, k = w.shape
    blocks = _blocks(w, rows, band_rows)
    place, at = np.nonzero((blocks != 0).any(axis=1))
    entries = aligned((max(1, place.size), rows), np.float32)
    entries[: place.size] = blocks[place, :, at]
    index = aligned(len(blocks) + 1 + place.size, np.int32)
    index[: len(blocks) + 1] = np.searchsorted(place, np.arange(len(blocks) + 1))
    index[len(blocks) + 1 :] = at
    return PackedWeights(entries, index, m, k, -(-m // band_rows), band_rows, int(np.count_nonzero(w)))


def unpack(packed: PackedWeights) -> Array:
    """The matrix that `pack` was given."""
    rows = packed.entries.shape[1]
    count = packed.strips * packed.strip_rows // rows
    begins, at = packed.index[: count + 1], packed.index[count + 1 :]
    w = np.zeros((count, rows, packed.k), np.float32)
    w[np.repeat(np.arange(count), np.diff(begins)), :, at] = packed.entries[: at.size]
    return np.ascontiguousarray(w.reshape(-1, packed.k)[: packed.m])
