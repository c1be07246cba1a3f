"""Rows of weights of few bits against float64: every block, zero point and tail; what is packed comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_runs import Array, form_of, is_few_bits, matrix_of, panel_of, run_product

from engine.kernels.layout import Lanes
from engine.kernels.row import ProductRow, aligned
from engine.kernels.weight_only.pack import FewBits, bits_of, pack, packed_bytes, unpack
from engine.lowering.choose import ALL_ROWS

ROWS = [row for row in ALL_ROWS if is_few_bits(row)]

# m, k, n, block: strips and chunks below, at and above their borders; k no multiple of the block; blocks of odd sizes.
CASES = [
    (1, 1, 1, 1),
    (5, 7, 3, 7),
    (48, 64, 8, 32),
    (49, 70, 17, 32),
    (96, 128, 16, 128),
    (100, 300, 40, 16),
    (130, 257, 2, 257),
    (64, 520, 130, 520),
    (60, 100, 5, 12),
    (47, 63, 1, 10),
    (200, 1000, 70, 128),
    (97, 129, 300, 64),
]


def few_bits(m: int, k: int, block: int, bits: int, kind: str = "u", seed: int = 0) -> FewBits:
    source, blocks = np.random.default_rng([m, k, block, seed]), -(-k // block)
    low = 0 if kind == "u" else -(1 << (bits - 1))
    numbers: Array = source.integers(low, low + (1 << bits), (m, k)).astype(f"{kind}1")
    zero: Array = source.integers(low, low + (1 << bits), (m, blocks)).astype(f"{kind}1")
    return FewBits(numbers, source.uniform(0.001, 0.1, (m, blocks)).astype(np.float32), zero, block)


def bits_for(row: ProductRow) -> int:
    return int(row.operand.removeprefix("w"))


def check_grade(y: Array, w: FewBits, x: Array) -> None:
    """The f32 grade against exact weights: units of 2**-24 times the sum of magnitudes."""
    k = w.numbers.shape[1]
    zero, scale = (np.repeat(part, w.block, 1)[:, :k].astype(np.float64) for part in (w.zero, w.scale))
    exact = (w.numbers.astype(np.float64) - zero) * scale
    unit = 2.0**-24 * (np.abs(exact) @ np.abs(x.astype(np.float64))) + 1e-30
    error = np.abs(y - exact @ x) / unit
    assert error.max() <= 8
    assert np.sqrt(np.mean(error**2)) <= 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize("kind", ["u", "i"])
@pytest.mark.parametrize(("m", "k", "n", "block"), CASES)
def test_product_keeps_the_f32_grade(row: ProductRow, kind: str, m: int, k: int, n: int, block: int) -> None:
    w, lanes = few_bits(m, k, block, bits_for(row), kind), Lanes(1, n)
    x = np.random.default_rng(n).standard_normal((k, n)).astype(np.float32)
    form = form_of(row, x, lanes)
    if bits_of(w) > bits_for(row):
        pytest.skip("blocks that are no whole groups of eight are kept in 8 bits")
    y, intact = run_product(row, row.pack(w), form, lanes)
    assert intact
    check_grade(matrix_of(y, m, n), w, x)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.family)
@pytest.mark.parametrize("zero", range(0, 256, 5))
def test_weights_at_their_zero_point_are_exactly_zero(row: ProductRow, zero: int) -> None:
    m, k, n, lanes = 50, 40, 4, Lanes(1, 4)
    zero %= 1 << bits_for(row)
    numbers = np.full((m, k), zero, np.uint8)
    numbers[7, 3] = zero ^ 1
    w = FewBits(numbers, np.full((m, 1), 0.1, np.float32), np.full((m, 1), zero, np.uint8), k)
    x = np.random.default_rng(zero).standard_normal((k, n)).astype(np.float32) * 1e6
    y, _ = run_product(row, row.pack(w), form_of(row, x, lanes), lanes)
    found = matrix_of(y, m, n)
    expected = (int(numbers[7, 3]) - zero) * np.float32(0.1) * x[3]
    assert np.array_equal(found[7], expected)
    assert not np.delete(found, 7, axis=0).any()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.family)
def test_epilogue_follows_the_product(row: ProductRow) -> None:
    m, k, n = 30, 40, 6
    w, lanes, source = few_bits(m, k, 8, bits_for(row)), Lanes(1, n), np.random.default_rng(1)
    x, addend = source.standard_normal((k, n)).astype(np.float32), source.standard_normal((m, n))
    bias = aligned(m + 128, np.float32)
    bias[:m] = source.standard_normal(m)
    residual = panel_of(addend.astype(np.float32), lanes)
    fields: dict[str, Any] = {
        "bias": bias.ctypes.data,
        "residual": residual.ctypes.data,
        "residual_panel": residual.strides[0],
    }
    form = form_of(row, x, lanes)
    y, intact = run_product(row, row.pack(w), form, lanes, activation="relu", **fields)
    expected = np.maximum(w.dequantised().astype(np.float64) @ x + bias[:m, None] + addend, 0)
    assert intact
    assert np.allclose(matrix_of(y, m, n), expected, rtol=1e-5, atol=1e-5)


@given(
    st.tuples(st.integers(1, 120), st.integers(1, 90)),
    st.integers(1, 40),
    st.sampled_from([4, 8]),
    st.sampled_from(["u", "i"]),
    st.booleans(),
)
def test_packed_weights_come_back(
    sizes: tuple[int, int], block: int, bits: int, kind: str, transposed: bool
) -> None:
    m, k = sizes
    block = min(block, k)
    w = few_bits(m, k, block, bits, kind)
    if transposed:
        w = FewBits(np.asfortranarray(w.numbers), w.scale, w.zero, block)
    needed = bits_of(w)
    packed = pack(w, needed)
    assert np.array_equal(unpack(packed, needed), w.dequantised())
    assert packed.nonzeros == np.count_nonzero(w.alive())
    assert packed.entries.nbytes == packed_bytes(m, k, block, needed)


@pytest.mark.parametrize(
    ("low", "high", "zero", "kind", "block", "bits"),
    [
        (0, 15, 15, "u", 8, 4),
        (-8, 7, -8, "i", 8, 4),
        (0, 16, 0, "u", 8, 8),
        (0, 15, 16, "u", 8, 8),
        (-9, 7, 0, "i", 8, 8),
        (0, 15, 0, "u", 12, 8),
        (0, 15, 0, "u", 20, 4),
    ],
)
def test_four_bits_are_enough_where_all_numbers_fit(
    low: int, high: int, zero: int, kind: str, block: int, bits: int
) -> None:
    numbers: Array = np.linspace(low, high, 3 * 20).round().astype(f"{kind}1").reshape(3, 20)
    blocks = -(-20 // block)
    w = FewBits(numbers, np.ones((3, blocks), np.float32), np.full((3, blocks), zero, f"{kind}1"), block)
    assert bits_of(w) == bits
