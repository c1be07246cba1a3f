"""Running single kernels on arrays: packing, records, canaries round every result."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.jit import Kernel
from engine.kernels.bf16_planes.rows import TILE_K
from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.layout import Lanes, pair_rows, panel_rows, quad_margin, quad_rows
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.products.epilogue import EPILOGUE
from engine.kernels.products.finishers import finisher_of
from engine.kernels.row import PackedWeights, ProductRow, aligned
from engine.kernels.weight_only.pack import FewBits

Array = NDArray[Any]
CANARY = 4096


def call(kernel: Kernel, args: Array, begin: int, end: int, scratch: Array | None = None) -> None:
    """Call a kernel as the walker does."""
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(kernel.address)
    function(args.ctypes.data, begin, end, 0 if scratch is None else scratch.ctypes.data)


class Guarded:
    """An array with canaries on both sides."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._raw = aligned(size + 2 * CANARY, np.uint8)
        self._raw[:] = 0xA5
        self.array: Array = self._raw[CANARY : CANARY + size].view(dtype).reshape(shape)

    @property
    def address(self) -> int:
        return int(self.array.ctypes.data)

    def is_intact(self) -> bool:
        """Whether nothing was written outside of the array."""
        return bool(
            (self._raw[:CANARY] == 0xA5).all() and (self._raw[CANARY + self.array.nbytes :] == 0xA5).all()
        )


def panel_of(x: Array, lanes: Lanes) -> Array:
    """float32 x[k, n] as an f32 panel, n lanes one after another."""
    k, n = x.shape
    full = np.zeros((k, lanes.panels * lanes.width), np.float32)
    full[:, :n] = x
    out = aligned((lanes.panels, panel_rows(k), lanes.width), np.float32)
    out[:, :k] = full.reshape(k, lanes.panels, lanes.width).transpose(1, 0, 2)
    return out


def quads_of(x: Array, lanes: Lanes) -> Array:
    """uint8 x[k, n] as quads; what may be read beyond them is full of ones."""
    k, n = x.shape
    full = np.zeros((4 * quad_rows(k), lanes.panels * lanes.width), np.uint8)
    full[:k, :n] = x
    shape = (lanes.panels, quad_rows(k), lanes.width, 4)
    size = math.prod(shape)
    raw = aligned(size + quad_margin(lanes.row_bytes), np.uint8)
    raw[size:] = 255
    out: Array = raw[:size].reshape(shape)
    out[:] = full.reshape(-1, 4, lanes.panels, lanes.width).transpose(2, 0, 3, 1)
    return out


def bytes_of(x: Array, lanes: Lanes) -> Array:
    """uint8 x[k, n] as rows of bytes, of 64-lane panels in pair order."""
    k, n = x.shape
    full = np.zeros((4 * quad_rows(k), lanes.panels * lanes.width), np.uint8)
    full[:k, :n] = x
    place = np.arange(lanes.width)
    if lanes.width == 64:
        for v, g, w in np.ndindex(4, 4, 4):
            place[16 * g + 8 * (v // 2) + 2 * w + v % 2] = 16 * v + 4 * g + w
    out = aligned((lanes.panels, full.shape[0], lanes.width), np.uint8)
    out[:] = full.reshape(-1, lanes.panels, lanes.width).transpose(1, 0, 2)[..., place]
    return out


def planes_of(x: Array, lanes: Lanes, planes: int) -> Array:
    """float32 x[k, n] as planes of bfloat16, by panels."""
    k, n = x.shape
    tiles, vectors = -(-k // TILE_K), lanes.width // 16
    full = np.zeros((tiles * TILE_K, lanes.vectors * 16), np.float32)
    full[:k, :n] = x
    out = aligned((lanes.panels, vectors, tiles, planes, 16, 16, 2), np.uint16)
    for i, part in enumerate(bf16_parts(full, planes)):
        parts = part.reshape(tiles, 16, 2, lanes.panels, vectors, 16)
        out[:, :, :, i] = parts.transpose(3, 4, 0, 1, 5, 2)
    return out


def pairs_of(x: Array, lanes: Lanes) -> Array:
    """float32 x[k, n] as pairs of bfloat16."""
    k, n = x.shape
    full = np.zeros((2 * pair_rows(k), lanes.panels * lanes.width), np.float32)
    full[:k, :n] = x
    out = aligned((lanes.panels, pair_rows(k), lanes.width, 2), np.uint16)
    out[:] = bf16_parts(full, 1)[0].reshape(-1, 2, lanes.panels, lanes.width).transpose(2, 0, 3, 1)
    return out


FORMS: dict[str, Callable[[Array, Lanes], Array]] = {
    "panel": panel_of,
    "quads": quads_of,
    "bytes": bytes_of,
    "pairs": pairs_of,
    "planes1": functools.partial(planes_of, planes=1),
    "planes3": functools.partial(planes_of, planes=3),
}


def most_of(row: ProductRow, n: int) -> int:
    """n lanes, or as many of them as the row takes."""
    return n if row.most_lanes is None else min(n, row.most_lanes)


def form_of(row: ProductRow, x: Array, lanes: Lanes) -> Array:
    """x[k, n] as the row reads it; skips the test where the row has no kernel for these lanes."""
    if not row.takes(lanes):
        pytest.skip(f"{row.family} has no kernel for {lanes.inner} lanes")
    return FORMS[row.reads](x, lanes)


def matrix_of(panel: Array, m: int, n: int) -> Array:
    """An f32 panel as [m, n]."""
    return np.asarray(panel.transpose(1, 0, 2).reshape(panel.shape[1], -1)[:m, :n])


def matrix_of_quads(quads: Array, m: int, n: int) -> Array:
    """Quads as uint8 [m, n]."""
    return np.asarray(quads.transpose(1, 3, 0, 2).reshape(4 * quads.shape[1], -1)[:m, :n])


def finisher_at(row: ProductRow, record: Array) -> int:
    """The address of the kernel that runs the one program in `record`."""
    fields = {name: record[name].item() for name in ("integer", "store", "activation")}
    return finisher_of(row.finishers, fields).address


def run_product(
    row: ProductRow,
    packed: PackedWeights,
    x: Array,
    lanes: Lanes,
    tiles: list[tuple[int, int]] | None = None,
    start: Array | None = None,
    panel_block: int = 2,
    **epilogue: Any,
) -> tuple[Array, bool]:
    """(y as the epilogue stores it, whether all canaries live). `tiles` cuts the work; default: all at once."""
    quantized = epilogue.get("store") == 1
    rows = quad_rows(packed.m) if quantized else panel_rows(packed.m)
    y = Guarded((lanes.panels, rows, lanes.width, 4), np.uint8)
    record = np.zeros(1, EPILOGUE)
    record["m"], record["y"], record["y_panel"] = packed.m, y.address, y.array.strides[0]
    record["row_bytes"] = lanes.row_bytes
    for name, value in epilogue.items():
        record[name] = ACTIVATIONS[value] if name == "activation" else value
    record["finisher"] = finisher_at(row, record)
    args = np.zeros(1, PRODUCT)
    fields = {
        "x": x.ctypes.data,
        "x_panel": x.strides[0],
        "k": row.k_steps(packed.k),
        "row_bytes": lanes.row_bytes,
        "last_bytes": lanes.last_bytes,
        "few": lanes.few,
        "w": packed.entries.ctypes.data,
        "w_index": packed.index.ctypes.data,
        "start": 0 if start is None else start.ctypes.data,
        "strips": packed.strips,
        "panels": lanes.panels,
        "lanes": lanes.inner,
        "panel_block": panel_block,
        "epilogue": record.ctypes.data,
    }
    for name, value in fields.items():
        args[name] = value
    scratch = Guarded((row.scratch(lanes.width),), np.uint8)
    for begin, end in tiles or [(0, packed.strips * lanes.panels)]:
        call(row.kernels[lanes.width], args, begin, end, scratch.array)
    result = y.array if quantized else y.array.view(np.float32)[..., 0]
    return result, y.is_intact() and scratch.is_intact()


def is_few_bits(row: ProductRow) -> bool:
    """Whether the row takes weights of few bits with their scales."""
    return row.operand in ("w8", "w4")


def packed_of(row: ProductRow, w: Array) -> PackedWeights:
    """The matrix as the row packs it; where it takes few bits, w must be such whole numbers, in blocks of 8 features."""
    if not is_few_bits(row):
        return row.pack(w)
    shape = (len(w), -(-w.shape[1] // 8))
    return row.pack(FewBits(w.astype(np.int8), np.ones(shape, np.float32), np.zeros(shape, np.int8), 8))


def sparse_matrix(source: np.random.Generator, m: int, k: int, density: float) -> Array:
    """float32 [m, k] with about this share of nonzeros."""
    w = source.standard_normal((m, k)).astype(np.float32)
    w[source.random((m, k)) >= density] = 0
    return w
