"""Each instruction does what its plain meaning says, at the active level."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import Guarded, bytes_of, call, quads_of

from engine.jit import kernel, record
from engine.kernels.layout import Lanes, quad_rows
from engine.kernels.movement.bytes import BYTES, TILE_QUADS, TO_BYTES
from engine.kernels.products.epilogue import divided, quantized
from engine.kernels.row import aligned
from engine.kernels.simd.arithmetic import MEANINGS, Meaning, splat_f32, splat_i32
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.lookup import lookup
from engine.kernels.simd.memory import load_f32, load_i32, store_f32, store_i32
from engine.kernels.simd.transpose import transpose_f32

ARGS = np.dtype([("a", np.int64), ("b", np.int64), ("y", np.int64)])
args_of = record(ARGS)
EDGES = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.5,
        2.5,
        0.5,
        np.inf,
        -np.inf,
        np.nan,
        3e38,
        1e-40,
        254.5,
        8388609.0,
        -7.5,
        1e9,
        -1e-9,
    ],
    np.float32,
)


def _arguments(*arrays: np.ndarray) -> np.ndarray:
    args = np.zeros(1, ARGS)
    for name, array in zip(("a", "b", "y"), arrays, strict=True):
        args[name] = array.ctypes.data
    return args


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.name)
def test_instruction_equals_its_numpy_meaning(meaning: Meaning) -> None:
    code, arity = meaning.code, meaning.arity

    @kernel(f"test_{meaning.name}")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        for tile in range(tile_begin, tile_end):
            x = load_f32(e.a + 64 * tile)
            y = code(x) if arity == 1 else code(x, load_f32(e.b + 64 * tile))
            store_f32(y, e.y + 64 * tile)

    a, b, y = (aligned((16, 16), np.float32) for _ in range(3))
    a[:], b[:] = EDGES, EDGES[:, None]
    call(apply, _arguments(a, b, y), 0, 16)
    with np.errstate(all="ignore"):
        expected = meaning.numpy(a) if arity == 1 else meaning.numpy(a, b)
    assert np.array_equal(y, expected, equal_nan=True)


def test_dot_product_of_quads_is_exact() -> None:
    @kernel("test_dot")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        store_i32(dot_u8s8(load_i32(e.y), load_i32(e.a), load_i32(e.b)), e.y)

    source = np.random.default_rng(0)
    for _ in range(20):
        u, s = source.integers(0, 256, 64).astype(np.uint8), source.integers(-128, 128, 64).astype(np.int8)
        u[:8], s[:8] = 255, -128
        total = source.integers(-(10**9), 10**9, 16).astype(np.int32)
        a, b, y = aligned(64, np.uint8), aligned(64, np.int8), aligned(16, np.int32)
        a[:], b[:], y[:] = u, s, total
        call(apply, _arguments(a, b, y), 0, 1)
        assert np.array_equal(y, total + (u.astype(np.int32) * s).reshape(16, 4).sum(axis=1))


@pytest.mark.parametrize("zero_point", [0, 3, 128, 255])
@pytest.mark.parametrize("step", [1.0, 0.1, 3e-5, 7e4])
def test_quantised_bytes_are_quantize_linear_s(step: float, zero_point: int) -> None:
    @kernel(f"test_bytes_{step}_{zero_point}")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        for tile in range(tile_begin, tile_end):
            x = load_f32(e.a + 64 * tile)
            store_i32(quantized(x, splat_f32(scale), splat_i32(zero_point)), e.y + 64 * tile)

    scale = np.float32(step)
    source = np.random.default_rng(zero_point)
    halves = (np.arange(-260, 260) + 0.5).astype(np.float32) * scale
    near = [np.nextafter(halves, np.float32(side), dtype=np.float32) for side in (-np.inf, np.inf)]
    ends = np.array([0, -0.0, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45], np.float32)
    random = (source.uniform(-300, 300, 2000) * scale).astype(np.float32)
    values = np.concatenate([halves, *near, ends, random])
    a, y = aligned(-(-values.size // 16) * 16, np.float32), aligned(-(-values.size // 16) * 16, np.int32)
    a[: values.size] = values
    call(apply, _arguments(a, a, y), 0, a.size // 16)
    with np.errstate(over="ignore"):
        whole = np.rint(a / scale).astype(np.float64) + zero_point
    assert np.array_equal(y, np.clip(whole, 0, 255))
    a[:16] = np.nan
    call(apply, _arguments(a, a, y), 0, 1)
    assert (y[:16] == 0).all()


def test_lookup_picks_by_the_low_bits_of_the_index() -> None:
    table = np.random.default_rng(5).normal(size=32).astype(np.float32)
    pick = lookup(table)

    @kernel("test_lookup")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        store_f32(pick(load_i32(e.a)), e.y)

    for base in (0, 16, 0x4B400000):
        a, y = aligned(16, np.int32), aligned(16, np.float32)
        a[:] = base + np.arange(16)
        call(apply, _arguments(a, a, y), 0, 1)
        assert np.array_equal(y, table[a % 32])


@pytest.mark.parametrize("n", [5, 20, 130])
def test_quads_become_what_unstructured_products_read(n: int) -> None:
    source = np.random.default_rng(2)
    assert TILE_QUADS >= 18, "one tile a panel"
    k, lanes = 70, Lanes(1, n)
    x = source.integers(0, 256, (k, n)).astype(np.uint8)
    quads, expected = quads_of(x, lanes), bytes_of(x, lanes)
    got = Guarded(expected.shape, expected.dtype)
    args = np.zeros(1, BYTES)
    args["x"], args["x_panel"], args["quads"] = quads.ctypes.data, quads.strides[0], quad_rows(k)
    args["y"], args["y_panel"], args["tiles_of_panel"] = got.address, expected.strides[0], 1
    call(TO_BYTES[lanes.width], args, 0, lanes.panels)
    assert np.array_equal(got.array, expected)
    assert got.is_intact()


def test_transpose_turns_rows_into_columns() -> None:
    @kernel("test_transpose")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        transpose_f32(e.a, 0, e.b, 4)

    x, y = aligned((16, 16), np.float32), aligned((16, 17), np.float32)
    x[:] = np.arange(256).reshape(16, 16)
    sources = np.array([row.ctypes.data for row in x], np.int64)
    targets = np.array([row.ctypes.data for row in y], np.int64)
    call(apply, _arguments(sources, targets, y), 0, 1)
    assert np.array_equal(y[:, 1:], x.T)
    assert not y[:, 0].any()


def test_division_by_the_inverse_is_correctly_rounded() -> None:
    @kernel("test_division")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        for tile in range(tile_begin, tile_end):
            step = load_f32(e.b + 64 * tile)
            store_f32(
                divided(load_f32(e.a + 64 * tile), step, splat_f32(np.float32(1)) / step), e.y + 64 * tile
            )

    source, count = np.random.default_rng(6), 1 << 16
    x, step, y = (aligned((count, 16), np.float32) for _ in range(3))
    step[:] = np.exp2(source.uniform(-20, 8, step.shape))
    # Near halves of whole steps, where a quotient a last bit off would round the other way.
    x[:] = (source.integers(-400, 400, x.shape) + 0.5).astype(np.float32) * step
    x[::2] = np.nextafter(x[::2], source.choice([-np.inf, np.inf], x[::2].shape).astype(np.float32))
    call(apply, _arguments(x, step, y), 0, count)
    assert np.array_equal(y, x / step)
