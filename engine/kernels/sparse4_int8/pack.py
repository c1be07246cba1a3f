"""Unstructured sparse int8 weights: fours of nonzeros in sorted row groups (see products/groups.py).

    entry, 24 bytes   w0 w1 w2 w3 of row i | of row j | o0 o1 o2 o3 of row i | of row j

o is uint16: ROW_BYTES times the weight's k within the block, where its row of activations begins. What is left
over of a row and block is filled up with weights of 0 at the block's first k.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.products.group_streams import count_bytes, lay_fours, run
from engine.kernels.products.groups import GROUP, arrange, unpack_bytes
from engine.kernels.row import Array, PackedWeights, aligned

# Nonzeros that are multiplied together.
FOUR = 4
# Bytes of a row of sixteen lanes.
ROW_BYTES = 16
ENTRY = np.dtype([("weights", np.int8, (GROUP, FOUR)), ("offsets", np.uint16, (GROUP, FOUR))])


def pack(w: Array, band_rows: int, block_k: int) -> PackedWeights:
    """int8 w[m, k], any strides, into bands of `band_rows` rows and blocks of `block_k` (at most 4096) features."""
    w = np.ascontiguousarray(w)
    m, k = w.shape
    blocks = -(-k // block_k)
    counts = np.empty((m, blocks), np.int32)
    run(count_bytes, m, w, block=block_k, blocks=blocks, counts=counts.ctypes.data)
    arranged = arrange(-(-counts // FOUR), band_rows, lambda length: length)
    entries = aligned(max(arranged.size, 1), ENTRY)
    places = {"groups": arranged.groups.ctypes.data, "entries": entries.ctypes.data}
    run(lay_fours, len(arranged.groups), w, block=block_k, **places)
    return PackedWeights(entries, arranged.index, m, k, -(-m // band_rows), band_rows, int(counts.sum()))


def _group(entries: Array, count: int) -> tuple[int, Array, Array]:
    group = entries[:count]
    return count, group["weights"], group["offsets"].astype(np.int64) // ROW_BYTES


def unpack(packed: PackedWeights, block_k: int) -> Array:
    """The matrix that `pack` was given."""
    return unpack_bytes(packed, block_k, _group)
