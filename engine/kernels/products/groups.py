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

from engine.kernels.row import Array, aligned

GROUP = 2
HEADER = 1 + GROUP
PADDING = -1


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a matrix in order of rows; `value` is what the family stores of each."""

    row: Array
    block: Array
    value: Array


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One band's groups.

    header   int32: groups of every block, then count and rows of every group
    length   units of a row, by group
    source   index of the unit at [group][position][row of the group], PADDING where a short row has none
    block    block of every place of `source`
    """

    header: Array
    length: Array
    source: Array
    block: Array


Serialize = Callable[[Arrangement, Array], Array]


def pack_bands(
    m: int, band_rows: int, blocks: int, units: Units, serialize: Serialize
) -> tuple[Array, Array]:
    """(entries, index) of a matrix of m rows; `serialize` turns a band's arrangement and its values into entries."""
    bands = -(-m // band_rows)
    cuts = np.searchsorted(units.row, np.arange(bands + 1) * band_rows)
    headers: list[Array] = []
    streams: list[Array] = []
    places = np.zeros(bands, np.int32)
    place, entry = bands, 0
    for band in range(bands):
        part = slice(cuts[band], cuts[band + 1])
        present = min(band_rows, m - band * band_rows)
        arrangement = _arrange(
            units.row[part] - band * band_rows, units.block[part], present, band_rows, blocks
        )
        stream = serialize(arrangement, units.value[part])
        places[band] = place
        headers += [np.array([entry], np.int32), arrangement.header]
        streams.append(stream)
        place += 1 + arrangement.header.size
        entry += stream.size
    entries = aligned(max(entry, 1), streams[0].dtype)
    entries[:entry] = np.concatenate(streams)
    index = aligned(place, np.int32)
    index[:] = np.concatenate([places, *headers])
    return entries, index


def _arrange(row: Array, block: Array, present: int, spare: int, blocks: int) -> Arrangement:
    counts = np.bincount(block * present + row, minlength=blocks * present).reshape(blocks, present)
    begins = (np.cumsum(counts) - counts.reshape(-1)).reshape(blocks, present)
    order = np.lexsort((np.arange(row.size), row, block))
    groups, headers, lengths, sources, places = [], [], [], [], []
    for b in range(blocks):
        ranked = np.argsort(-counts[b], kind="stable")
        if b > 0:
            ranked = ranked[counts[b][ranked] > 0]
        if ranked.size % GROUP:
            ranked = np.append(ranked, spare)
        pairs = ranked.reshape(-1, GROUP)
        length = counts[b][pairs[:, 0]] if pairs.size else np.zeros(0, np.int64)
        source = _sources(
            pairs, length, np.append(counts[b], np.zeros(spare + 1 - present, np.int64)), begins[b], order
        )
        groups.append(len(pairs))
        headers.append(np.column_stack([length, pairs]).reshape(-1))
        lengths.append(length)
        sources.append(source)
        places.append(np.full(source.size, b))
    header = np.concatenate([np.array(groups), *headers]).astype(np.int32)
    return Arrangement(header, np.concatenate(lengths), np.concatenate(sources), np.concatenate(places))


def _sources(pairs: Array, length: Array, counts: Array, begins: Array, order: Array) -> Array:
    """Unit indices of one block's groups, [group][position][row of the group]."""
    group = np.repeat(np.arange(len(pairs)), length)
    position = np.arange(group.size) - np.repeat(np.cumsum(length) - length, length)
    source = np.full((group.size, GROUP), PADDING, np.int64)
    for side in range(GROUP):
        row = pairs[group, side]
        real = position < counts[row]
        source[real, side] = order[begins[row[real]] + position[real]]
    return source.reshape(-1)


def band_headers(index: Array, bands: int, blocks: int) -> list[tuple[int, Array]]:
    """(place of the first entry, [count, row i, row j] of every group) of each band; for unpacking."""
    ends = [*index[1:bands], index.size]
    found = []
    for band in range(bands):
        at = int(index[band])
        found.append((int(index[at]), index[at + 1 + blocks : ends[band]].reshape(-1, HEADER)))
    return found
