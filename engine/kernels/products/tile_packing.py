"""Weights as A tiles: strips of 32 rows, dense or compressed.

    dense        entries  [strip][k tile][plane][half][16 rows][64 bytes of k]
    compressed   entries  the elements that are not zero, in that order, one after another
                 index    int64: where each strip begins in entries (bytes); then masks
                          [strip][k tile][half][16 rows], one bit an element of k, lowest first

A k tile is 64 k's of int8 or 32 of bfloat16; planes of a weight share its mask. Rows beyond m and k's
beyond k are zero: what the activations hold there is multiplied by 0, or dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.kernels.row import Array, PackedWeights, aligned

ROWS, HALF, ROW_BYTES = 32, 16, 64
Split = Callable[[Array], list[Array]]


def k_tiles(k: int, itemsize: int) -> int:
    """Tiles that hold k elements."""
    return -(-k // (ROW_BYTES // itemsize))


def _tiled(rows: Array, itemsize: int) -> Array:
    """At most 32 rows of k elements as [k tile][half][row][element], filled with zeros; items of `itemsize` in a tile."""
    count, k = rows.shape
    tiles, length = k_tiles(k, itemsize), ROW_BYTES // itemsize
    full = np.zeros((ROWS, tiles * length), rows.dtype)
    full[:count, :k] = rows
    return np.ascontiguousarray(full.reshape(2, HALF, tiles, length).transpose(2, 0, 1, 3))


def pack_tiles(w: Array, element: np.dtype[Any], split: Split) -> PackedWeights:
    """Dense tiles of w[m, k].

    element   of a tile: int8, or uint16 for the bits of bfloat16
    split     an array of weights -> its planes
    """
    m, k = w.shape
    strips, planes = -(-m // ROWS), len(split(w[:1, :1]))
    shape = (strips, k_tiles(k, element.itemsize), planes, 2, HALF, ROW_BYTES // element.itemsize)
    entries = aligned(shape, element)
    # A strip at a time stays in the cache.
    for strip in range(strips):
        tiled = _tiled(w[strip * ROWS : (strip + 1) * ROWS], element.itemsize)
        for i, plane in enumerate(split(tiled)):
            entries[strip, :, i] = plane
    return PackedWeights(entries, aligned(0, np.int64), m, k, strips, ROWS, int(np.count_nonzero(w)))


def compress_tiles(w: Array, element: np.dtype[Any], split: Split) -> PackedWeights:
    """Masks and nonzero elements of w[m, k]; otherwise as `pack_tiles`."""
    m, k = w.shape
    strips = -(-m // ROWS)
    streams: list[Array] = []
    masks: list[Array] = []
    for strip in range(strips):
        tiled = _tiled(w[strip * ROWS : (strip + 1) * ROWS], element.itemsize)
        on = tiled != 0
        masks.append(np.packbits(on, axis=-1, bitorder="little").reshape(-1).view(np.int64))
        streams.append(_interleaved(split(tiled[on]), np.count_nonzero(on, axis=(1, 2, 3))))
    stream, bits = np.concatenate(streams), np.concatenate(masks)
    entries = aligned(max(1, stream.size), element)
    entries[: stream.size] = stream
    index = aligned(strips + bits.size, np.int64)
    index[1:strips] = np.cumsum([part.nbytes for part in streams[:-1]])
    index[strips:] = bits
    return PackedWeights(entries, index, m, k, strips, ROWS, int(np.count_nonzero(w)))


def _interleaved(planes: list[Array], counts: Array) -> Array:
    """Planes of the same elements, `counts` of them in each k tile, as one stream: a tile's planes together."""
    if len(planes) == 1:
        return planes[0]
    begins = np.cumsum(counts) - counts
    at = np.arange(planes[0].size) + np.repeat((len(planes) - 1) * begins, counts)
    width = np.repeat(counts, counts)
    stream = np.empty(len(planes) * planes[0].size, planes[0].dtype)
    for i, plane in enumerate(planes):
        stream[at + i * width] = plane
    return stream


def _matrix(tiled: Array, m: int, k: int) -> Array:
    strips, tiles, _, _, length = tiled.shape
    full = tiled.transpose(0, 2, 3, 1, 4).reshape(strips * ROWS, tiles * length)
    return np.ascontiguousarray(full[:m, :k])


def unpack_tiles(packed: PackedWeights) -> list[Array]:
    """The planes of the weights that `pack_tiles` was given."""
    return [_matrix(packed.entries[:, :, i], packed.m, packed.k) for i in range(packed.entries.shape[2])]


def unpack_compressed(packed: PackedWeights, planes: int) -> list[Array]:
    """The planes of the weights that `compress_tiles` was given."""
    length = ROW_BYTES // packed.entries.itemsize
    shape = (packed.strips, k_tiles(packed.k, packed.entries.itemsize), 2, HALF, length)
    masks = packed.index[packed.strips :]
    on = np.unpackbits(masks.view(np.uint8), bitorder="little").reshape(shape).astype(bool)
    values = np.zeros((*shape[:2], planes, *shape[2:]), packed.entries.dtype)
    wide = np.broadcast_to(on[:, :, None], values.shape)
    values[wide] = packed.entries[: int(wide.sum())]
    return [_matrix(values[:, :, i], packed.m, packed.k) for i in range(planes)]
