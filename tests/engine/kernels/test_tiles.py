"""Tile instructions against their plain meaning: real where this level has them, else the emulated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_runs import Array, call, panel_of, planes_of

from engine.jit import kernel, record
from engine.kernels.bf16_planes.rows import FORMS, PLANES
from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.layout import Lanes
from engine.kernels.row import aligned
from engine.kernels.simd.expand import expand_bytes, expand_words
from engine.kernels.simd.memory import write_i64
from engine.kernels.simd.tiles import TILE_MEMORY, tile_unit

ARGS = np.dtype([(name, np.int64) for name in ("a", "b", "c", "y", "a_stride", "b_stride", "y_stride")])
args_of = record(ARGS)


def _strided(rows: Array, stride: int) -> Array:
    """Sixteen rows of 64 bytes, `stride` bytes apart, in the middle of other bytes."""
    raw = aligned((16, stride), np.uint8)
    raw[:] = 0x5A
    raw[:, :64] = rows.view(np.uint8).reshape(16, 64)
    return raw


def _multiplied(kind: str, a: Array, b: Array, c: Array) -> Array:
    """C + A * B by one tile product, operands and result at strides of their own."""
    unit = tile_unit(kind)
    load, stream, store, zero = unit.load(4), unit.stream(6), unit.store(1), unit.zero(1)
    start, multiply = unit.load(1), unit.multiply(1, 4, 6)
    configure, release = unit.configure, unit.release

    @kernel(f"test_tile_{kind}")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        configure(scratch)
        zero(scratch)
        if e.c != 0:
            start(scratch, e.c, 64)
        load(scratch, e.a, e.a_stride)
        stream(scratch, e.b, e.b_stride)
        multiply(scratch)
        store(scratch, e.y, e.y_stride)
        release(scratch)

    left, right, result = _strided(a, 64), _strided(b, 256), _strided(np.zeros_like(c), 192)
    args = np.zeros(1, ARGS)
    addresses = (left.ctypes.data, right.ctypes.data, c.ctypes.data if c.any() else 0, result.ctypes.data)
    args[0] = (*addresses, 64, 256, 192)
    call(apply, args, 0, 1, aligned(TILE_MEMORY, np.uint8))
    assert (result[:, 64:] == 0x5A).all()
    return np.ascontiguousarray(result[:, :64]).view(c.dtype)


@pytest.mark.parametrize("extreme", [False, True])
def test_a_product_of_bytes_is_exact(extreme: bool) -> None:
    source = np.random.default_rng(1)
    for begun in (False, True):
        a, b = source.integers(-128, 128, (16, 64)), source.integers(0, 256, (64, 16))
        if extreme:
            a[:], b[:] = -128, 255
        c = aligned((16, 16), np.int32)
        c[:] = source.integers(-(2**31), 2**31, (16, 16)) * begun
        quads = b.reshape(16, 4, 16).transpose(0, 2, 1).astype(np.uint8)
        got = _multiplied("u8s8", a.astype(np.int8), np.ascontiguousarray(quads), c)
        assert np.array_equal(got, (c + a @ b).astype(np.int32))


def test_a_product_of_bfloat16_keeps_float32_sums() -> None:
    source = np.random.default_rng(2)
    for begun in (False, True):
        a, b = (bf16_parts(source.standard_normal((16, 32)), 1)[0] for _ in range(2))
        c = aligned((16, 16), np.float32)
        c[:] = source.standard_normal((16, 16)) * begun
        x = _float(b).T
        pairs = b.T.reshape(16, 2, 16).transpose(0, 2, 1)
        got = _multiplied("bf16", a, np.ascontiguousarray(pairs), c)
        unit = 2.0**-24 * (np.abs(_float(a)) @ np.abs(x) + np.abs(c))
        assert (np.abs(got - (c + _float(a) @ x)) <= 8 * unit).all()


def _float(bits: Array) -> Array:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(("expand", "dtype"), [(expand_bytes, np.uint8), (expand_words, np.uint16)])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_compressed_rows_are_spread_by_their_masks(
    expand: Callable[..., Any], dtype: type, density: float
) -> None:
    @kernel(f"test_expand_{np.dtype(dtype).name}")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        write_i64(expand(e.a, e.b, e.y) - e.a, e.c)

    source = np.random.default_rng(3)
    tile: Array = source.integers(1, 256, (16, 64 // np.dtype(dtype).itemsize)).astype(dtype)
    tile[source.random(tile.shape) >= density] = 0
    values = np.append(tile[tile != 0], np.zeros(1, dtype))
    masks = np.packbits(tile != 0, axis=-1, bitorder="little")
    taken, result = np.zeros(1, np.int64), aligned(tile.shape, dtype)
    result[:] = 77
    args = np.zeros(1, ARGS)
    args["a"], args["b"] = values.ctypes.data, masks.ctypes.data
    args["c"], args["y"] = taken.ctypes.data, result.ctypes.data
    call(apply, args, 0, 1)
    assert np.array_equal(result, tile)
    assert taken[0] == (values.size - 1) * tile.itemsize


AWKWARD = np.array(
    [0.0, -0.0, 1.0, -1.0, 3.4028235e38, -3.4028235e38, 3.39e38, 1e-30, np.pi, 1 + 2.0**-9, 1 + 3 * 2.0**-9],
    np.float32,
)


def test_three_parts_are_the_number() -> None:
    bits = np.random.default_rng(4).integers(0, 2**32, 100_000, dtype=np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    # Below, parts are smaller than the smallest normal.
    x = np.append(x[np.isfinite(x) & (np.abs(x) > 2.0**-100)], AWKWARD)
    parts = [_float(part) for part in bf16_parts(x, 3)]
    assert np.array_equal(sum(parts), x.astype(np.float64))
    assert (np.abs(parts[0] - x)[np.abs(x) < 3.38e38] <= 2.0**-8 * np.abs(x)[np.abs(x) < 3.38e38]).all()
    nans = np.array([0x7FC00000, 0xFF800001], np.uint32).view(np.float32)
    assert np.isnan(_float(bf16_parts(nans, 3)[0])).all()


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (31, 17), (32, 33), (70, 200)])
def test_planes_are_the_panels_parts(planes: int, k: int, n: int) -> None:
    lanes = Lanes(1, n)
    x = np.random.default_rng(5).standard_normal((k, n)).astype(np.float32) * 100
    x.reshape(-1)[: min(x.size, AWKWARD.size)] = AWKWARD[: x.size]
    panel, expected = panel_of(x, lanes), planes_of(x, lanes, planes)
    made = aligned(expected.shape, np.uint16)
    made[:] = 0xFFFF
    args = np.zeros(1, PLANES)
    fields = (panel.ctypes.data, panel.strides[0], made.ctypes.data, k, lanes.row_bytes)
    args[0] = fields
    call(FORMS[f"planes{planes}"], args, 0, lanes.vectors)
    assert np.array_equal(made, expected)


@pytest.mark.parametrize(("k", "n"), [(1, 1), (31, 17), (32, 33), (70, 200)])
def test_rows_are_the_panel_rounded(k: int, n: int) -> None:
    lanes = Lanes(1, n)
    x = np.random.default_rng(5).standard_normal((k, n)).astype(np.float32) * 100
    panel, blocks = panel_of(x, lanes), -(-lanes.vectors // 2)
    made = aligned((blocks, k, 32), np.uint16)
    args = np.zeros(1, PLANES)
    args[0] = (panel.ctypes.data, panel.strides[0], made.ctypes.data, k, lanes.row_bytes)
    call(FORMS["rows"], args, 0, lanes.vectors)
    full = np.zeros((k, blocks * 32), np.float32)
    full[:, :n] = x
    assert np.array_equal(made, bf16_parts(full, 1)[0].reshape(k, blocks, 32).transpose(1, 0, 2))
