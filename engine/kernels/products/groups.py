"""Sparse weights as sorted row groups in bands and blocks: what all sparse families share.

Rows are cut into bands (whole tiles of work), k into blocks whose activations fit L1. A row's nonzeros of
one block are its units: single weights, quads or pairs, as the family says. Inside a block the rows of a
band are sorted by their number of units and taken two at a time, so that both rows of a group have almost
the same count: padding stays small and the inner loop's length changes rarely.

    index    int32   [0]              band 0's place in `index`, band 1's ...             (one a band)
             a band:  place of its first entry
                      groups of block 0, groups of block 1, ...
                      then a group:  count, row i, row j                                  (rows within the band)

Block 0 names every row, even empty ones: it sets the sums that later blocks add to. A group's missing
second row is the band's spare row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.kernels.products.group_streams import ABSENT, count_words, lay_words, run
from engine.kernels.row import Array, PackedWeights, aligned

GROUP = 2
HEADER = 1 + GROUP


@dataclass(frozen=True, slots=True)
class Arrangement:
    """All groups of a matrix.

    index    int32, as above
    groups   int64 [group][5]: place of the first entry, row i, row j (ABSENT: none), length, block
    size     entries of all groups
    """

    index: Array
    groups: Array
    size: int


def arrange(counts: Array, band_rows: int, entries_of: Callable[[Array], Array]) -> Arrangement:
    """Groups of a matrix with counts[m, blocks] units a row and block.

    entries_of   entries that groups of these lengths take
    """
    bands = -(-len(counts) // band_rows)
    places, headers, tables = np.zeros(bands, np.int32), [], []
    place, entry = bands, 0
    for band in range(bands):
        groups, pairs, length, block = _band_groups(
            counts[band * band_rows : (band + 1) * band_rows], band_rows
        )
        sizes = entries_of(length)
        rows = np.where(pairs < band_rows, pairs + band * band_rows, ABSENT)
        tables.append(np.column_stack([entry + np.cumsum(sizes) - sizes, rows, length, block]))
        header = np.concatenate([[entry], groups, np.column_stack([length, pairs]).reshape(-1)])
        headers.append(header.astype(np.int32))
        places[band] = place
        place += header.size
        entry += int(sizes.sum())
    index = aligned(place, np.int32)
    index[:] = np.concatenate([places, *headers])
    return Arrangement(index, np.ascontiguousarray(np.concatenate(tables), np.int64), entry)


def _band_groups(counts: Array, spare: int) -> tuple[Array, Array, Array, Array]:
    """(groups of every block, rows [group][2], length and block of every group) of one band."""
    present, blocks = counts.shape
    alive = np.count_nonzero(counts, axis=0)
    alive[0] = present
    ranked = np.full((blocks, present + present % GROUP), spare)
    ranked[:, :present] = np.argsort(-counts.T, axis=1, kind="stable")
    ranked[np.arange(ranked.shape[1]) >= alive[:, None]] = spare
    groups = -(-alive // GROUP)
    is_group = np.arange(ranked.shape[1] // GROUP) < groups[:, None]
    pairs = ranked.reshape(blocks, -1, GROUP)[is_group]
    block = np.repeat(np.arange(blocks), groups)
    return groups, pairs, counts[pairs[:, 0], block], block


def pack_words(
    w: Array, band_rows: int, block_k: int, mask: int, entry: np.dtype[np.void]
) -> tuple[Array, Array]:
    """(entries, index) of contiguous 32-bit values w[m, k]: a value and its k each, a group's rows alternating.

    mask   bits of which one is set in a nonzero value
    """
    m, k = w.shape
    blocks = -(-k // block_k)
    counts = np.empty((m, blocks), np.int32)
    fields = {"block": block_k, "mask": mask}
    run(count_words, m, w, blocks=blocks, counts=counts.ctypes.data, **fields)
    arranged = arrange(counts, band_rows, lambda length: GROUP * length)
    # One entry a row of the last group is written beyond the end, and dropped.
    entries = aligned(arranged.size + GROUP, entry)
    places = {"groups": arranged.groups.ctypes.data, "entries": entries.ctypes.data}
    run(lay_words, len(arranged.groups), w, **fields, **places)
    entries[arranged.size :] = 0
    return entries[: max(arranged.size, 1)], arranged.index


def band_headers(index: Array, bands: int, blocks: int) -> list[tuple[int, Array]]:
    """(place of the first entry, [count, row i, row j] of every group) of each band; for unpacking."""
    ends = [*index[1:bands], index.size]
    found = []
    for band in range(bands):
        at = int(index[band])
        found.append((int(index[at]), index[at + 1 + blocks : ends[band]].reshape(-1, HEADER)))
    return found


def unpack_bytes(
    packed: PackedWeights, block_k: int, read: Callable[[Array, int], tuple[int, Array, Array]]
) -> Array:
    """int8 w[m, k] of weights in groups of single bytes.

    read   (entries from a group's first on, its count) -> how many it has, its weights and their k's within the
           block, both [units][GROUP][...]
    """
    w = np.zeros((packed.strips, packed.strip_rows + 1, packed.k), np.int64)
    blocks = -(-packed.k // block_k)
    for band, (entry, groups) in enumerate(band_headers(packed.index, packed.strips, blocks)):
        head = packed.index[packed.index[band] + 1 :][:blocks]
        place = entry
        for (count, *rows), block in zip(groups, np.repeat(np.arange(blocks), head), strict=True):
            size, weights, ks = read(packed.entries[place:], int(count))
            for side, row in enumerate(rows):
                live = weights[:, side] != 0
                np.add.at(w[band, row], ks[:, side][live] + block * block_k, weights[:, side][live])
            place += size
    return np.ascontiguousarray(w[:, :-1].reshape(-1, packed.k)[: packed.m].astype(np.int8))
