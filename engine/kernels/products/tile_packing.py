"""Weights as A tiles: strips of 32 rows, dense or compressed.

    dense        entries  [strip][k tile][plane][half][16 rows][64 bytes of k]
    compressed   entries  the elements that are not zero, in that order, one after another
                 index    int64: where strip s begins in entries (bytes), for each strip, filled up to 64 bytes;
                          then masks [strip][k tile][half][16 rows], one bit an element of k, lowest first

A k tile is 64 k's of int8 or 32 of bfloat16; planes of a weight share its mask. Rows beyond m and k's
beyond k are zero: what the activations hold there is multiplied by 0, or dropped.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.row import Array, PackedWeights, aligned

ROWS, HALF, ROW_BYTES = 32, 16, 64


def index_words(strips: int) -> int:
    """Words of the index before the masks."""
    return (strips + 7) // 8 * 8


def k_tiles(k: int, itemsize: int) -> int:
    """Tiles that hold k elements."""
    return -(-k // (ROW_BYTES // itemsize))


def _tiled(matrix: Array, itemsize: int) -> Array:
    """[m, k] as [strip][k tile][half][row][element], filled with zeros; elements of `itemsize` bytes in a tile."""
    m, k = matrix.shape
    strips, tiles, length = -(-m // ROWS), k_tiles(k, itemsize), ROW_BYTES // itemsize
    full = np.zeros((strips * ROWS, tiles * length), matrix.dtype)
    full[:m, :k] = matrix
    return full.reshape(strips, 2, HALF, tiles, length).transpose(0, 3, 1, 2, 4)


def pack_tiles(w: Array, planes: list[Array]) -> PackedWeights:
    """Dense tiles of w[m, k], whose planes (int8, or uint16 bits of bfloat16) are given."""
    tiled = [_tiled(plane, plane.itemsize) for plane in planes]
    strips, tiles = tiled[0].shape[:2]
    entries = aligned((strips, tiles, len(planes), *tiled[0].shape[2:]), planes[0].dtype)
    for i, plane in enumerate(tiled):
        entries[:, :, i] = plane
    m, k = w.shape
    return PackedWeights(entries, aligned(0, np.int64), m, k, strips, ROWS, int(np.count_nonzero(w)))


def compress_tiles(w: Array, planes: list[Array]) -> PackedWeights:
    """Masks and nonzero elements of w[m, k], whose planes are given."""
    itemsize = planes[0].itemsize
    on = _tiled(w != 0, itemsize)
    strips, tiles = on.shape[:2]
    # [strip][k tile][plane][half]...: the mask picks the same elements of every plane.
    shape = (strips, tiles, len(planes), *on.shape[2:])
    values = np.stack([_tiled(plane, itemsize) for plane in planes], axis=2)
    chosen = values[np.broadcast_to(on[:, :, None], shape)]
    entries = aligned(max(1, chosen.size), chosen.dtype)
    entries[: chosen.size] = chosen
    counts = on.reshape(strips, -1).sum(axis=1) * len(planes) * itemsize
    masks = np.packbits(on, axis=-1, bitorder="little").reshape(-1).view(np.int64)
    head = index_words(strips)
    index = aligned(head + masks.size, np.int64)
    index[1:strips] = np.cumsum(counts)[:-1]
    index[head:] = masks
    m, k = w.shape
    return PackedWeights(entries, index, m, k, strips, ROWS, int(np.count_nonzero(w)))


def _matrix(tiled: Array, m: int, k: int) -> Array:
    strips, tiles, _, _, length = tiled.shape
    full = tiled.transpose(0, 2, 3, 1, 4).reshape(strips * ROWS, tiles * length)
    return np.ascontiguousarray(full[:m, :k])


def unpack_tiles(packed: PackedWeights) -> list[Array]:
    """The planes that `pack_tiles` was given."""
    return [
        _matrix(packed.entries[:, :, i], packed.m, packed.k) for i in range(packed.entries.shape[2])
    ]


def unpack_compressed(packed: PackedWeights, planes: int) -> list[Array]:
    """The planes that `compress_tiles` was given."""
    length = ROW_BYTES // packed.entries.itemsize
    shape = (packed.strips, k_tiles(packed.k, packed.entries.itemsize), 2, HALF, length)
    masks = packed.index[index_words(packed.strips) :]
    on = np.unpackbits(masks.view(np.uint8), bitorder="little").reshape(shape).astype(bool)
    values = np.zeros((*shape[:2], planes, *shape[2:]), packed.entries.dtype)
    wide = np.broadcast_to(on[:, :, None], values.shape)
    values[wide] = packed.entries[: int(wide.sum())]
    return [_matrix(values[:, :, i], packed.m, packed.k) for i in range(planes)]
