"""Every product row against float64 or exact integers, over tails, empty rows and all epilogues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_runs import (
    form_of,
    is_few_bits,
    matrix_of,
    matrix_of_quads,
    most_of,
    packed_of,
    panel_of,
    run_product,
    sparse_matrix,
)
from scipy.special import erf

from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.dense_int8 import rows as dense_int8
from engine.kernels.layout import Lanes
from engine.kernels.row import ProductRow, aligned
from engine.lowering.choose import ALL_ROWS

FLOAT_ROWS = [row for row in ALL_ROWS if row.operand == "f32" and row.precision == "f32"]
INTEGER_ROWS = [row for row in ALL_ROWS if row.operand == "u8"]
BF16_ROWS = [row for row in ALL_ROWS if row.precision == "bf16"]
FEW_ROWS = [row for row in ALL_ROWS if row.most_lanes is not None]
RUN_ROWS = [row for row in ALL_ROWS if row.run > 1]
MARGIN = 128

# m, k, lanes, density: below, at and above each tile border; empty rows; all zero; full; every panel width.
CASES = [
    (1, 1, 1, 1.0),
    (3, 5, 16, 0.5),
    (12, 96, 17, 0.1),
    (13, 97, 32, 0.1),
    (64, 64, 64, 0.1),
    (65, 63, 48, 0.0),
    (96, 200, 65, 0.02),
    (97, 300, 130, 0.1),
    (200, 31, 192, 1.0),
    (33, 1601, 70, 0.1),
    (70, 97, 2, 1.0),
    (128, 130, 3, 0.5),
    (145, 33, 4, 1.0),
    (17, 601, 5, 0.1),
    (200, 64, 8, 1.0),
]


@pytest.mark.parametrize("row", FLOAT_ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize(("m", "k", "n", "density"), CASES)
def test_float_product_keeps_the_f32_grade(row: ProductRow, m: int, k: int, n: int, density: float) -> None:
    source = np.random.default_rng(m * k + n)
    w, x = sparse_matrix(source, m, k, density), source.standard_normal((k, n)).astype(np.float32)
    lanes = Lanes(1, n)
    y, intact = run_product(row, row.pack(w), form_of(row, x, lanes), lanes)
    assert intact
    _check_grade(matrix_of(y, m, n), w, x)


def _check_grade(y: Any, w: Any, x: Any) -> None:
    """The f32 grade: units of 2**-24 times the sum of magnitudes, 8 at most, 1 in the mean square."""
    unit = 2.0**-24 * (np.abs(w).astype(np.float64) @ np.abs(x)) + 1e-30
    error = np.abs(y - w.astype(np.float64) @ x) / unit
    assert error.max() <= 8
    assert np.sqrt(np.mean(error**2)) <= 1


@pytest.mark.parametrize("row", FLOAT_ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize("k", [768, 3072])
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_long_sums_keep_the_f32_grade(row: ProductRow, k: int, density: float) -> None:
    source, n = np.random.default_rng(k), most_of(row, 64)
    w, x = sparse_matrix(source, 64, k, density), source.standard_normal((k, n)).astype(np.float32)
    lanes = Lanes(1, n)
    y, _ = run_product(row, row.pack(w), form_of(row, x, lanes), lanes)
    _check_grade(matrix_of(y, 64, n), w, x)


def _rounded(x: Any) -> Any:
    """float32 rounded to bfloat16."""
    return (bf16_parts(x, 1)[0].astype(np.uint32) << np.uint32(16)).view(np.float32)


@pytest.mark.parametrize("row", BF16_ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize(("m", "k", "n", "density"), CASES)
def test_bfloat16_product_rounds_its_operands_alone(
    row: ProductRow, m: int, k: int, n: int, density: float
) -> None:
    source = np.random.default_rng(m * k + n)
    w, x = sparse_matrix(source, m, k, density), source.standard_normal((k, n)).astype(np.float32)
    lanes = Lanes(1, n)
    y, intact = run_product(row, row.pack(w), form_of(row, x, lanes), lanes)
    assert intact
    _check_grade(matrix_of(y, m, n), _rounded(w), _rounded(x))


@pytest.mark.parametrize("row", RUN_ROWS, ids=lambda row: row.family)
def test_more_panels_than_a_run_holds(row: ProductRow) -> None:
    source, m, k, n = np.random.default_rng(9), 40, 100, 64 * (row.run + 1) + 3
    lanes = Lanes(1, n)
    w = (source.integers(-3, 4, (m, k)) * (source.random((m, k)) < 0.3)).astype(np.int8)
    x = source.integers(0, 8, (k, n))
    one, start = np.ones(1, np.float32), aligned(m + MARGIN, np.int32)
    fields: dict[str, Any] = {"integer": 1, "scale": one.ctypes.data, "start": start}
    if row.operand != "u8":
        fields = {}
    operands = (w, x) if row.operand == "u8" else (w.astype(np.float32), x.astype(np.float32))
    y, intact = run_product(
        row, packed_of(row, operands[0]), form_of(row, operands[1], lanes), lanes, panel_block=100, **fields
    )
    assert intact
    assert np.array_equal(matrix_of(y, m, n), w.astype(np.int64) @ x)


@pytest.mark.parametrize("row", FEW_ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize("m", [1, 6, 16, 33, 50, 63, 64, 70, 113, 128])
@pytest.mark.parametrize("k", [1, 2, 4, 8, 9, 31, 32, 33, 97, 300])
def test_every_number_of_few_lanes_and_every_tail(row: ProductRow, m: int, k: int) -> None:
    source, one, start = np.random.default_rng(m * k), np.ones(1, np.float32), aligned(m + MARGIN, np.int32)
    is_float = row.operand != "u8"
    kinds = ("float32", "float32") if is_float else ("int8", "uint8")
    fields: dict[str, Any] = {} if is_float else {"integer": 1, "scale": one.ctypes.data, "start": start}
    # Whole numbers whose sums are exact in either type.
    w = source.integers(-8, 8, (m, k)).astype(kinds[0])
    packed = packed_of(row, w)
    for n in range(1, int(row.most_lanes or 0) + 1):
        x, lanes = source.integers(0, 9, (k, n)).astype(kinds[1]), Lanes(1, n)
        y, intact = run_product(row, packed, form_of(row, x, lanes), lanes, **fields)
        assert intact
        assert np.array_equal(matrix_of(y, m, n), w.astype(np.int64) @ x.astype(np.int64)), n


@pytest.mark.parametrize("n", [1, 2, 4, 5, 17, 20, 33, 36, 49, 52, 53, 65, 81, 98, 196])
@pytest.mark.parametrize(("m", "k"), [(1, 1), (12, 4), (13, 30), (64, 260)])
def test_few_lanes_of_a_last_vector_are_exact(m: int, k: int, n: int) -> None:
    row, source, lanes = dense_int8.ROW, np.random.default_rng([m, k, n]), Lanes(1, n)
    w = source.integers(-128, 128, (m, k)).astype(np.int8)
    x, start = source.integers(0, 256, (k, n)).astype(np.uint8), aligned(m + MARGIN, np.int32)
    start[:m] = source.integers(-5000, 5000, m)
    scale = np.ones(1, np.float32)
    y, intact = run_product(
        row, row.pack(w), form_of(row, x, lanes), lanes, start=start, integer=1, scale=scale.ctypes.data
    )
    assert intact
    assert np.array_equal(matrix_of(y, m, n), (w.astype(np.int64) @ x + start[:m, None]).astype(np.float32))


@pytest.mark.parametrize("row", INTEGER_ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize(("m", "k", "n", "density"), CASES)
def test_integer_product_is_exact(row: ProductRow, m: int, k: int, n: int, density: float) -> None:
    source = np.random.default_rng(m * k + n)
    w = source.integers(-128, 128, (m, k)).astype(np.int8)
    w[source.random((m, k)) >= density] = 0
    x, start = source.integers(0, 256, (k, n)).astype(np.uint8), aligned(m + MARGIN, np.int32)
    start[:m] = source.integers(-5000, 5000, m)
    lanes, scale = Lanes(1, n), np.ones(1, np.float32)
    y, intact = run_product(
        row, row.pack(w), form_of(row, x, lanes), lanes, start=start, integer=1, scale=scale.ctypes.data
    )
    assert intact
    assert np.array_equal(matrix_of(y, m, n), (w.astype(np.int64) @ x + start[:m, None]).astype(np.float32))


@pytest.mark.parametrize("row", INTEGER_ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize(("byte", "weight"), [(255, -128), (255, 127), (0, -128)])
def test_integer_product_never_saturates_between(row: ProductRow, byte: int, weight: int) -> None:
    m, k, n = 13, 260, most_of(row, 20)
    lanes, start = Lanes(1, n), aligned(m + MARGIN, np.int32)
    w, x = np.full((m, k), weight, np.int8), np.full((k, n), byte, np.uint8)
    scale = np.ones(1, np.float32)
    y, _ = run_product(
        row, row.pack(w), form_of(row, x, lanes), lanes, start=start, integer=1, scale=scale.ctypes.data
    )
    assert np.all(matrix_of(y, m, n) == k * byte * weight)


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.family)
def test_result_does_not_depend_on_how_tiles_are_cut(row: ProductRow) -> None:
    source = np.random.default_rng(5)
    m, k, n = 110, 130, most_of(row, 150)
    lanes = Lanes(1, n)
    fields: dict[str, Any] = {}
    if row.operand != "u8":
        w, x = sparse_matrix(source, m, k, 0.3), form_of(row, source.standard_normal((k, n)), lanes)
        w = np.clip(np.rint(4 * w), -8, 7) if is_few_bits(row) else w
    else:
        w, x = (
            source.integers(-128, 128, (m, k)).astype(np.int8),
            form_of(row, source.integers(0, 256, (k, n)), lanes),
        )
        scale = np.full(1, 0.01, np.float32)
        fields = {
            "integer": 1,
            "scale": scale.ctypes.data,
            "start": aligned(m + MARGIN, np.int32),
        }
    packed = packed_of(row, w)
    whole, _ = run_product(row, packed, x, lanes, **fields)
    last = packed.strips * lanes.panels
    single = [(tile, tile + 1) for tile in reversed(range(last))]
    pieces, _ = run_product(row, packed, x, lanes, single, **fields)
    assert np.array_equal(matrix_of(whole, m, n), matrix_of(pieces, m, n))


def _gelu(x: Any) -> Any:
    return x / 2 * (1 + erf(x / np.sqrt(2)))


def _gelu_tanh(x: Any) -> Any:
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hard_sigmoid": lambda x: np.clip(0.25 * x + 0.375, 0, 1),
    "leaky_relu": lambda x: np.where(x < 0, 0.25 * x, x),
    "clip": lambda x: np.clip(x, 0.25, 0.375),
    "swish": lambda x: x / (1 + np.exp(-0.25 * x)),
}


@pytest.mark.parametrize("row", FLOAT_ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_epilogue_adds_bias_and_residual_then_activates(row: ProductRow, activation: str) -> None:
    source = np.random.default_rng(11)
    m, k, n = 30, 40, most_of(row, 70)
    lanes = Lanes(1, n)
    w, x = sparse_matrix(source, m, k, 0.5), source.standard_normal((k, n)).astype(np.float32)
    bias, addend = aligned(m + MARGIN, np.float32), source.standard_normal((m, n)).astype(np.float32)
    bias[:m] = source.standard_normal(m)
    residual = panel_of(addend, lanes)
    fields: dict[str, Any] = {
        "bias": bias.ctypes.data,
        "residual": residual.ctypes.data,
        "residual_panel": residual.strides[0],
        "first_number": 0.25,
        "second_number": 0.375,
    }
    y, intact = run_product(row, row.pack(w), form_of(row, x, lanes), lanes, activation=activation, **fields)
    expected = ACTIVATIONS[activation](w.astype(np.float64) @ x + bias[:m, None] + addend)
    assert intact
    assert np.allclose(matrix_of(y, m, n), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 13, 100])
@pytest.mark.parametrize("zero_point", [0, 101, 255])
@pytest.mark.parametrize("store", [1, 2])
def test_stored_quantised_as_quantize_linear_says(m: int, zero_point: int, store: int) -> None:
    source = np.random.default_rng(m)
    row, k, n = INTEGER_ROWS[0], 24, 35
    lanes, start = Lanes(1, n), aligned(m + MARGIN, np.int32)
    w, x = (
        source.integers(-128, 128, (m, k)).astype(np.int8),
        source.integers(0, 256, (k, n)).astype(np.uint8),
    )
    # Powers of two, so that ties really occur.
    scale, step = np.full(1, 2.0**-6, np.float32), np.float32(32.0)
    fields: dict[str, Any] = {
        "integer": 1,
        "scale": scale.ctypes.data,
        "store": store,
        "step": step,
        "zero_point": zero_point,
    }
    y, intact = run_product(row, row.pack(w), form_of(row, x, lanes), lanes, start=start, **fields)
    value = (w.astype(np.int64) @ x).astype(np.float32) * scale
    expected = np.clip(np.rint(value / step) + zero_point, 0, 255)
    assert intact
    if store == 1:
        assert np.array_equal(matrix_of_quads(y, m, n), expected)
    else:
        assert np.array_equal(matrix_of(y, m, n), expected - zero_point)


def test_product_rounded_before_the_bias_keeps_both_roundings() -> None:
    source = np.random.default_rng(3)
    row, m, k, n = INTEGER_ROWS[0], 15, 24, 20
    lanes, start = Lanes(1, n), aligned(m + MARGIN, np.int32)
    w, x = (
        source.integers(-128, 128, (m, k)).astype(np.int8),
        source.integers(0, 256, (k, n)).astype(np.uint8),
    )
    scale, bias = np.full(m, 0.01, np.float32), aligned(m + MARGIN, np.float32)
    bias[:m] = source.standard_normal(m)
    fields: dict[str, Any] = {
        "scale": scale.ctypes.data,
        "scale_stride": 4,
        "product_step": 3.5,
        "product_zero": 130,
    }
    y, _ = run_product(
        row,
        row.pack(w),
        form_of(row, x, lanes),
        lanes,
        start=start,
        integer=1,
        bias=bias.ctypes.data,
        **fields,
    )
    value = (w.astype(np.int64) @ x).astype(np.float32) * scale[:, None]
    whole = np.clip(np.rint(value / np.float32(3.5)) + 130, 0, 255) - 130
    expected = whole.astype(np.float32) * np.float32(3.5) + bias[:m, None]
    assert np.array_equal(matrix_of(y, m, n), expected)
