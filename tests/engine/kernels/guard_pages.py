"""Arrays between pages that nobody may touch, and product rows run on them: what `test_guard_pages` starts.

A kernel knows addresses, not arrays, so that NUMBA_BOUNDSCHECK=1 sees nothing of it; the memory itself has to say
no. A read or a write outside ends the process by SIGSEGV.

    | forbidden page | ...... array | forbidden page |       `at_end`: the array's last byte is the last readable one
    | forbidden page | array ...... | forbidden page |       else its first is the first

`python guard_pages.py FAMILY` runs one family over its tails and ends with exit code 0.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
from kernel_runs import FORMS, Array, finisher_at, is_few_bits, packed_of, sparse_matrix

from engine.kernels.layout import Lanes, pair_rows, panel_rows, quad_margin
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.products.epilogue import EPILOGUE
from engine.kernels.row import ProductRow
from engine.lowering.choose import ALL_ROWS

PAGE = mmap.PAGESIZE
# Rows that a vector of constants has beyond m, as the lowering pads it.
MARGIN = 96
SIZES = ((1, 1, 1), (5, 7, 3), (13, 97, 8), (65, 33, 16), (50, 130, 20), (97, 70, 70), (33, 300, 130))
_libc = ctypes.CDLL(None, use_errno=True)


class Fenced:
    """A copy of an array with a forbidden page before and after it."""

    def __init__(self, array: Array, *, at_end: bool) -> None:
        size = -(-max(array.nbytes, 1) // PAGE) * PAGE
        self._map = mmap.mmap(-1, size + 2 * PAGE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        for place in (begin, begin + PAGE + size):
            if _libc.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        # What begins on a cache line keeps doing so: the last bytes before the page are then some few unused ones.
        offset = PAGE + ((size - array.nbytes) // 64 * 64 if at_end else 0)
        self.address = begin + offset
        ctypes.memmove(self.address, np.ascontiguousarray(array).ctypes.data, array.nbytes)


def run(row: ProductRow, m: int, k: int, n: int, *, at_end: bool) -> None:
    """One product on fenced memory, sized as the lowering sizes it."""
    lanes, source = Lanes(1, n), np.random.default_rng(m)
    if not row.takes(lanes):
        return
    w, x = sparse_matrix(source, m, k, 0.3), source.integers(0, 9, (k, n))
    if row.operand == "u8":
        w = np.clip(w * 40, -128, 127).astype(np.int8)
    if is_few_bits(row):
        w = np.clip(np.rint(w * 4), -8, 7)
    packed = packed_of(row, w)
    form = FORMS[row.reads](x.astype(np.uint8 if row.operand == "u8" else np.float32), lanes)
    padded = np.zeros(form.nbytes + (quad_margin(lanes.row_bytes) if row.reads == "quads" else 0), np.uint8)
    padded[: form.nbytes] = form.reshape(-1).view(np.uint8)
    rows = np.zeros(m + MARGIN, np.float32)
    y = np.zeros((lanes.panels, panel_rows(m), lanes.width), np.float32)
    parts = {
        "x": padded,
        "w": packed.entries,
        "w_index": packed.index,
        "rows": rows,
        "y": y,
        "scratch": np.zeros(row.scratch(lanes.width), np.uint8),
    }
    fenced = {name: Fenced(part, at_end=at_end) for name, part in parts.items()}
    place = {name: part.address for name, part in fenced.items()}
    record, args = np.zeros(1, EPILOGUE), np.zeros(1, PRODUCT)
    is_integer = row.operand == "u8"
    fields = {"m": m, "y": place["y"], "y_panel": y.strides[0], "row_bytes": lanes.row_bytes}
    fields |= {"bias": place["rows"], "integer": int(is_integer), "scale": place["rows"], "scale_stride": 4}
    for name, value in fields.items():
        record[name] = value
    record["finisher"] = finisher_at(row, record)
    fields = {"x": place["x"], "x_panel": form.strides[0], "k": row.k_steps(k), "row_bytes": lanes.row_bytes}
    fields |= {"w": place["w"], "w_index": place["w_index"], "start": place["rows"] if is_integer else 0}
    fields |= {"strips": packed.strips, "panels": lanes.panels, "lanes": n, "panel_block": 2}
    fields |= {"last_bytes": lanes.last_bytes, "few": lanes.few}
    fields |= {"epilogue": record.ctypes.data}
    for name, value in fields.items():
        args[name] = value
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(row.kernels[lanes.width].address)
    function(args.ctypes.data, 0, packed.strips * lanes.panels, place["scratch"])
    if row.reads == "pairs":
        # Once more, to pairs alone.
        pairs = Fenced(np.zeros(pair_rows(m) * lanes.row_bytes * lanes.panels, np.uint8), at_end=at_end)
        for name, value in pairs_at(pairs.address, m, lanes).items():
            record[name] = value
        function(args.ctypes.data, 0, packed.strips * lanes.panels, place["scratch"])


def pairs_at(address: int, m: int, lanes: Lanes) -> dict[str, int]:
    """What an epilogue's record says of m features that are stored as pairs, and not as an f32 panel."""
    place = {"planes": address, "planes_panel": pair_rows(m) * lanes.row_bytes, "planes_vector": 64}
    return {**place, "planes_row": lanes.row_bytes, "y": 0}


def main(family: str) -> None:
    """All sizes of one family, with the fence close behind and close before."""
    (row,) = [row for row in ALL_ROWS if row.family == family]
    for m, k, n in SIZES:
        for at_end in (True, False):
            run(row, m, k, n, at_end=at_end)


if __name__ == "__main__":
    main(sys.argv[1])
