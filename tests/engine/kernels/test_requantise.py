"""The shorter epilogue gives the bytes that the operators' own roundings give, one after the other."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from kernel_runs import Array, Guarded

from engine.jit import Kernel
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.epilogue import EPILOGUE, STORE_F32, STORE_QUANTIZED
from engine.kernels.row import aligned
from engine.kernels.simd.narrow import HAS_NARROWING
from engine.lowering.ops._requantise import requantise_fields

ROWS, LANES = 12, 48


@dataclass(frozen=True)
class Case:
    """What is done to sums; steps as a graph has them, (scale, zero point)."""

    step: tuple[float, int] = (0.037, 0)
    activation: tuple[str, float, float] = ("none", 0, 0)
    has_bias: bool = False
    product: tuple[float, int] | None = None
    residual: tuple[float, int] | None = None
    one_scale: bool = False


CASES = [
    Case(),
    Case((0.25, 128)),
    Case((1.0, 255), one_scale=True),
    Case((0.021, 3), ("relu", 0, 0)),
    Case((0.11, 0), ("clip", 0.0, 6.0)),
    Case((0.09, 40), ("clip", -1.7, 3.3)),
    Case((0.07, 9), ("clip", 2.0, 1.0)),
    Case((0.013, 77), ("relu", 0, 0), has_bias=True),
    Case((0.25, 100), has_bias=True, one_scale=True),
    Case((0.031, 0), ("relu", 0, 0), product=(0.017, 121), residual=(0.029, 0)),
    Case((0.5, 17), product=(0.25, 128), residual=(0.25, 131)),
    Case((0.0444, 200), ("clip", -3.0, 2.0), product=(0.03, 255), residual=(0.05, 255)),
]


def _fields(case: Case, scale: Array, bias: Array) -> dict[str, Any]:
    """The epilogue's fields as the lowering has them; addresses are those of the arrays."""
    name, first, second = case.activation
    fields: dict[str, Any] = {
        "integer": 1,
        "store": STORE_QUANTIZED,
        "step": float(np.float32(case.step[0])),
        "zero_point": case.step[1],
        "activation": ACTIVATIONS[name],
        "first_number": first,
        "second_number": second,
        "scale": scale.ctypes.data,
        "scale_stride": 0 if case.one_scale else 4,
        "row_bytes": 4 * LANES,
        "m": ROWS,
    }
    if case.has_bias:
        fields["bias"] = bias.ctypes.data
    if case.product is not None:
        fields |= {"product_step": float(np.float32(case.product[0])), "product_zero": case.product[1]}
    if case.residual is not None:
        fields |= {"residual_step": float(np.float32(case.residual[0])), "residual_zero": case.residual[1]}
        fields["residual"] = 1
    return fields


def _sums(scale: Array, step: float) -> Array:
    """Random sums, beyond both ends of the bytes too; some at halves, where that is a whole number; extremes."""
    source = np.random.default_rng(11)
    sums = source.normal(0, 120 * step, (ROWS, LANES)) / scale[:, None]
    sums[:, :8] = np.rint((np.arange(8) * 3 + 0.5) * step / scale[:, None])
    sums[:, 8:12] = [2**31 - 1, -(2**31), 0, 2**24 + 1]
    return sums.astype(np.int64).clip(-(2**31), 2**31 - 1).astype(np.int32)


def _rounded(x: Array, step: tuple[float, int]) -> Array:
    return np.asarray(np.clip(np.rint(x / np.float32(step[0])) + step[1], 0, 255), np.int32)


def _real(x: Array, step: tuple[float, int]) -> Array:
    return np.asarray((x.astype(np.int32) - step[1]).astype(np.float32) * np.float32(step[0]))


def _expected(case: Case, sums: Array, scale: Array, bias: Array, r: Array) -> Array:
    x = sums.astype(np.float32) * scale[:, None]
    if case.product is not None:
        x = _real(_rounded(x, case.product), case.product)
    if case.has_bias:
        x = x + bias[:, None]
    if case.residual is not None:
        x = x + _real(r, case.residual)
    name, first, second = case.activation
    if name == "relu":
        x = np.maximum(x, np.float32(0))
    if name == "clip":
        x = np.minimum(np.maximum(x, np.float32(first)), np.float32(second))
    return _rounded(x, case.step)


@pytest.mark.skipif(not HAS_NARROWING, reason="this level has no saturating packs of 64 bytes")
@pytest.mark.parametrize("case", CASES)
def test_bytes_are_those_of_the_operators_one_after_the_other(case: Case) -> None:
    source = np.random.default_rng(5)
    scale = np.full(ROWS, 2.0**-8) if case.one_scale else source.uniform(2e-5, 2e-3, ROWS)
    scale, bias = scale.astype(np.float32), source.normal(0, 2, ROWS).astype(np.float32)
    residual = source.integers(0, 256, (ROWS, LANES)).astype(np.uint8)
    r = aligned((ROWS // 4, LANES, 4), np.uint8)
    r[:] = residual.reshape(ROWS // 4, 4, LANES).transpose(0, 2, 1)
    fields = _fields(case, scale, bias)
    found = requantise_fields(fields, scale, bias if case.has_bias else None)
    record, y = np.zeros(1, EPILOGUE), Guarded((ROWS // 4, LANES, 4), np.uint8)
    assert found is not None
    places = {"y": y.address, "residual": r.ctypes.data}
    for name, value in (fields | found | places).items():
        record[name] = value.address if isinstance(value, Kernel) else value
    sums = aligned((ROWS, LANES), np.int32)
    sums[:] = _sums(scale, (case.product or case.step)[0])
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7)(int(record["finisher"][0]))
    run(record.ctypes.data, sums.ctypes.data, 4 * LANES, 0, ROWS, 0, LANES)
    got = y.array.transpose(0, 2, 1).reshape(ROWS, LANES)
    np.testing.assert_array_equal(got, _expected(case, sums, scale, bias, residual))
    assert y.is_intact()


@pytest.mark.skipif(not HAS_NARROWING, reason="this level has no saturating packs of 64 bytes")
@pytest.mark.parametrize(
    "change",
    [
        {"activation": ACTIVATIONS["gelu"]},
        {"store": STORE_F32},
        {"summed_step": 0.1},
        {"residual": 1},
        {"product_step": 0.1},
        {"step": 1e-30},
        {"step": 0.0},
        {"step": float("nan")},
        {"step": 1e-12},
    ],
    ids=str,
)
def test_what_it_does_not_know_goes_the_longer_way(change: dict[str, Any]) -> None:
    scale = np.full(ROWS, 1e-3, np.float32)
    fields = _fields(Case(), scale, scale)
    assert requantise_fields(fields, scale, None)
    assert requantise_fields(fields | change, scale, None) is None
    assert requantise_fields(fields | {"m": ROWS + 1}, scale, None) is None
    assert requantise_fields(fields, scale * np.float32(np.inf), None) is None
    assert requantise_fields(fields, scale, scale * np.float32(np.nan)) is None
