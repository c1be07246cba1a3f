"""Sparse float32 weights as sorted row groups in bands and blocks.

Rows are cut into bands (whole tiles of work), k into blocks whose activations fit L1. Inside a block the
rows of a band are sorted by their number of nonzeros and taken two at a time, so that both rows of a
group have almost the same count: padding stays small and the inner loop's length changes rarely.

    index    int32   [0]              band 0's offset in `index`, band 1's ...            (one a band)
             a band:  offset of its first entry (in entries)
                      groups of block 0, groups of block 1, ...
                      then a group:  count, row i, row j                                  (rows within the band)
    entries  8 bytes each: float32 weight, uint32 k; a group's alternate i, j, i, j, ...

Block 0 names every row, even empty ones: it sets the sums that later blocks add to. A group's missing
second row is the band's spare row. Short rows are padded with weight 0 at the block's first k.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.row import Array, PackedWeights, aligned

GROUP = 2
HEADER = 1 + GROUP


def pack(w: Array, band_rows: int, block_k: int) -> PackedWeights:
    """float32 w[m, k], any strides, into bands of `band_rows` rows and blocks of `block_k` features."""
    m, k = w.shape
    w = np.ascontiguousarray(w)
    bands = -(-m // band_rows)
    row_of, k_of = np.nonzero(w)
    weights = w[row_of, k_of].astype(np.float32)
    index: list[Array] = []
    entries: list[Array] = []
    place, entry = bands, 0
    places = np.zeros(bands, np.int32)
    cuts = np.searchsorted(row_of, np.arange(bands + 1) * band_rows)
    for band in range(bands):
        part = slice(cuts[band], cuts[band + 1])
        rows = min(band_rows, m - band * band_rows)
        header, stream = _pack_band(
            row_of[part] - band * band_rows, k_of[part], weights[part], (rows, band_rows), k, block_k
        )
        places[band] = place
        index += [np.array([entry], np.int32), header]
        entries.append(stream)
        place += 1 + header.size
        entry += stream.size
    packed = aligned(max(entry, 1), ENTRY)
    packed[:entry] = np.concatenate(entries)
    table = aligned(place, np.int32)
    table[:] = np.concatenate([places, *index])
    return PackedWeights(packed, table, m, k, bands, band_rows, weights.size)


ENTRY = np.dtype([("weight", np.float32), ("k", np.uint32)])


def _pack_band(
    rows: Array, ks: Array, weights: Array, sizes: tuple[int, int], k: int, block_k: int
) -> tuple[Array, Array]:
    """(groups of each block and their headers, entries) of one band."""
    present, spare = sizes
    blocks = -(-k // block_k)
    block = ks // block_k
    counts = np.zeros((blocks, present), np.int64)
    np.add.at(counts, (block, rows), 1)
    begins = np.zeros((blocks, present), np.int64)
    order = np.lexsort((ks, rows, block))
    begins.reshape(-1)[1:] = np.cumsum(counts.reshape(-1))[:-1]
    groups, headers, streams = [], [], []
    for b in range(blocks):
        ranked = np.argsort(-counts[b], kind="stable")
        if b > 0:
            ranked = ranked[counts[b][ranked] > 0]
        if ranked.size % GROUP:
            ranked = np.append(ranked, spare)
        pairs = ranked.reshape(-1, GROUP)
        length = counts[b][pairs[:, 0]]
        groups.append(len(pairs))
        headers.append(np.column_stack([length, pairs]).reshape(-1))
        streams.append(_entries(pairs, length, counts[b], begins[b], order, ks, weights, b * block_k))
    return np.concatenate([np.array(groups), *headers]).astype(np.int32), np.concatenate(streams)


def _entries(
    pairs: Array,
    length: Array,
    counts: Array,
    begins: Array,
    order: Array,
    ks: Array,
    weights: Array,
    first_k: int,
) -> Array:
    """The entries of one block's groups: [group][position][row of the group]."""
    total = int(length.sum())
    group = np.repeat(np.arange(len(pairs)), length)
    position = np.arange(total) - np.repeat(np.cumsum(length) - length, length)
    stream = np.zeros((total, GROUP), ENTRY)
    stream["k"] = first_k
    for side in range(GROUP):
        row = pairs[group, side]
        real = row < counts.size
        real[real] = position[real] < counts[row[real]]
        source = order[begins[row[real]] + position[real]]
        stream["weight"][real, side] = weights[source]
        stream["k"][real, side] = ks[source]
    return stream.reshape(-1)


def unpack(packed: PackedWeights) -> Array:
    """The matrix that `pack` was given; `block_k` follows from the index."""
    w = np.zeros((packed.strips * (packed.strip_rows + 1), packed.k), np.float32)
    ends = [*packed.index[1 : packed.strips], packed.index.size]
    for band in range(packed.strips):
        at = int(packed.index[band])
        entry, rest = int(packed.index[at]), packed.index[at + 1 : ends[band]]
        blocks = next(b for b in range(1, rest.size + 1) if b + HEADER * int(rest[:b].sum()) == rest.size)
        for count, *rows in rest[blocks:].reshape(-1, HEADER):
            group = packed.entries[entry : entry + count * GROUP].reshape(count, GROUP)
            for side, row in enumerate(rows):
                np.add.at(
                    w[band * (packed.strip_rows + 1) + row], group["k"][:, side], group["weight"][:, side]
                )
            entry += count * GROUP
    kept: Array = w.reshape(packed.strips, packed.strip_rows + 1, packed.k)[:, : packed.strip_rows]
    return np.ascontiguousarray(kept.reshape(-1, packed.k)[: packed.m])
