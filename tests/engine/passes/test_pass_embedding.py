"""Look-ups in constant tables become embeddings, and their sums chains of residuals."""

from __future__ import annotations

import numpy as np
import pytest
from form_check import check, node_of, random
from reference.onnx_builder import ModelBuilder

IDS = np.array([[0, 3, -1], [2, 2, 5]], np.int64)


def table(rows: int, width: int = 8, seed: int = 1) -> np.ndarray:
    return random(rows, width, seed=seed)


def whole_table(rows: int, dtype: type, width: int = 8) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(rows).integers(info.min, info.max + 1, (rows, width)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_rows_of_a_table(dtype: type) -> None:
    b = ModelBuilder()
    b.output(b.op("Gather", b.weight(table(6)), b.input("ids", dtype, (2, 3))))
    check(b, {"ids": IDS.astype(dtype)}, {"embedding": 1}, exact=True)


@pytest.mark.parametrize(("dtype", "zero"), [(np.uint8, 128), (np.int8, 0), (np.uint8, 3), (np.int8, -7)])
def test_rows_of_an_eight_bit_table_are_dequantised_in_the_step(dtype: type, zero: int) -> None:
    b = ModelBuilder()
    rows = b.op("Gather", b.weight(whole_table(6, dtype)), b.input("ids", np.int64, (2, 3)))
    b.output(b.op("DequantizeLinear", rows, b.number(0.037), b.number(zero, dtype)))
    after = check(b, {"ids": IDS}, {"embedding": 1}, exact=True)
    assert node_of(after, "embedding").attrs["quantisation"] == (np.float32(0.037), zero)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("length", [1, 3])
def test_sum_of_three_look_ups_is_a_chain(batch: int, length: int) -> None:
    b = ModelBuilder()
    ids, kinds = (b.input(name, np.int64, ("batch", "length")) for name in ("ids", "kinds"))
    every = b.weight(np.arange(1024, dtype=np.int64)[None])
    places = b.op("Slice", every, b.ints(0), b.ints(length), b.ints(1))
    words = b.op("Add", b.op("Gather", b.weight(table(6)), ids), b.op("Gather", b.weight(table(2)), kinds))
    b.output(b.op("Add", words, b.op("Gather", b.weight(table(1024)), places)))
    feeds = {"ids": IDS[:batch, :length], "kinds": np.abs(IDS[:batch, :length]) % 2}
    check(b, feeds, {"embedding": 3}, exact=True)


def test_table_looked_up_along_columns_stays() -> None:
    b = ModelBuilder()
    b.output(b.op("Gather", b.weight(table(6)), b.input("ids", np.int64, (2, 3)), axis=1))
    check(b, {"ids": IDS}, {"Gather": 1}, exact=True)


def test_per_row_scales_stay() -> None:
    b = ModelBuilder()
    rows = b.op("Gather", b.weight(whole_table(6, np.uint8)), b.input("ids", np.int64, (2, 3)))
    b.output(b.op("DequantizeLinear", rows, b.weight(np.abs(random(8)) + 0.1), axis=-1))
    check(b, {"ids": IDS}, {"Gather": 1, "DequantizeLinear": 1}, exact=True)


def test_rows_that_are_read_twice_are_not_taken_into_a_sum() -> None:
    b = ModelBuilder()
    rows = b.op("Gather", b.weight(table(6)), b.input("ids", np.int64, (2, 3)))
    b.output(b.op("Add", rows, b.input("r", np.float32, (2, 3, 8))), rows)
    check(b, {"ids": IDS, "r": random(2, 3, 8)}, {"embedding": 1, "Add": 1}, exact=True)


def test_eight_bit_rows_are_dequantised_in_the_step_whoever_else_reads_them() -> None:
    b = ModelBuilder()
    rows = b.op("Gather", b.weight(whole_table(6, np.uint8)), b.input("ids", np.int64, (2, 3)))
    b.output(b.op("DequantizeLinear", rows, b.number(0.037)), b.op("Cast", rows, to=1))
    check(b, {"ids": IDS}, {"embedding": 1, "Gather": 1, "Cast": 1}, exact=True)


@pytest.mark.parametrize("batch", [1, 2])
def test_constant_rows_are_a_table_read_in_order(batch: int) -> None:
    b = ModelBuilder()
    ids = b.input("ids", np.int64, ("batch", "length"))
    words = b.op("Gather", b.weight(table(6)), ids)
    b.output(b.op("Add", words, b.weight(table(3, seed=4)[None])))
    check(b, {"ids": IDS[:batch]}, {"embedding": 2}, exact=True)


def test_constant_columns_and_single_rows_stay_sums() -> None:
    b = ModelBuilder()
    ids = b.input("ids", np.int64, (2, 3))
    words = b.op("Gather", b.weight(table(6)), ids)
    b.output(b.op("Add", words, b.weight(table(1))))
    check(b, {"ids": IDS}, {"embedding": 1, "Add": 1}, exact=True)
