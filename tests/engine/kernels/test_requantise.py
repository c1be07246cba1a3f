"""The shorter epilogue gives the bytes that the operators' own roundings give, one after the other."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from kernel_runs import Array, Guarded
from scipy import special

from engine.jit import Kernel
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.curve import HAS_CURVES
from engine.kernels.products.epilogue import EPILOGUE, STORE_F32, STORE_QUANTIZED
from engine.kernels.products.finishers import FINISHERS, finisher_of
from engine.kernels.products.requantise_bytes import FINISHERS_TO_BYTES
from engine.kernels.row import aligned
from engine.kernels.simd.narrow import HAS_NARROWING
from engine.lowering.ops._requantise import curve_fields, requantise_fields
from engine.plan.steps import Fixed, Location

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
# Through a curve: from the least step that is taken to one that leaves two bytes.
CURVED = [
    Case((0.0051, 34), ("gelu", 0, 0)),
    Case((0.0213, 8), ("gelu", 0, 0), has_bias=True),
    Case((0.1, 2), ("gelu_tanh", 0, 0), has_bias=True, one_scale=True),
    Case((5.0, 0), ("gelu_tanh", 0, 0), one_scale=True),
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


def _scale_and_bias(case: Case) -> tuple[Array, Array]:
    source = np.random.default_rng(5)
    scale = np.full(ROWS, 2.0**-8) if case.one_scale else source.uniform(2e-5, 2e-3, ROWS)
    return scale.astype(np.float32), source.normal(0, 2, ROWS).astype(np.float32)


def _run(fields: Mapping[str, Any], sums: Array, y: Guarded) -> None:
    """Run an epilogue over sums [row][lane]."""
    record = np.zeros(1, EPILOGUE)
    for name, value in fields.items():
        record[name] = _number(value)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7)(int(record["finisher"][0]))
    run(record.ctypes.data, sums.ctypes.data, sums.strides[0], 0, ROWS, 0, sums.shape[1])
    assert y.is_intact()


def _number(value: Any) -> Any:
    if isinstance(value, Kernel):
        return value.address
    if isinstance(value, Location) and isinstance(value.place, Fixed):
        return value.place.array.ctypes.data
    return value


@pytest.mark.skipif(not HAS_NARROWING, reason="this level has no saturating packs of 64 bytes")
@pytest.mark.parametrize("case", CASES)
def test_bytes_are_those_of_the_operators_one_after_the_other(case: Case) -> None:
    scale, bias = _scale_and_bias(case)
    residual = np.random.default_rng(6).integers(0, 256, (ROWS, LANES)).astype(np.uint8)
    r = aligned((ROWS // 4, LANES, 4), np.uint8)
    r[:] = residual.reshape(ROWS // 4, 4, LANES).transpose(0, 2, 1)
    fields = _fields(case, scale, bias)
    found = requantise_fields(fields, scale, bias if case.has_bias else None)
    assert found is not None
    y = Guarded((ROWS // 4, LANES, 4), np.uint8)
    sums = aligned((ROWS, LANES), np.int32)
    sums[:] = _sums(scale, (case.product or case.step)[0])
    _run(fields | found | {"y": y.address, "residual": r.ctypes.data}, sums, y)
    np.testing.assert_array_equal(_rows_of(y), _expected(case, sums, scale, bias, residual))


def _rows_of(quads: Guarded) -> Array:
    groups, lanes, _ = quads.array.shape
    return quads.array.transpose(0, 2, 1).reshape(4 * groups, lanes)


def _curve_in_float64(case: Case, sums: Array, scale: Array, bias: Array) -> Array:
    """In steps, around the zero point, not rounded."""
    x = sums.astype(np.float32) * scale[:, None] + (bias[:, None] if case.has_bias else np.float32(0))
    x = x.astype(np.float64)
    cubic = np.clip(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3), -700, 700)
    chance = special.ndtr(x) if case.activation[0] == "gelu" else special.expit(cubic)
    return np.asarray(x * chance / np.float64(np.float32(case.step[0])))


@pytest.mark.skipif(not HAS_CURVES, reason="this level has no lookup of 32 numbers")
@pytest.mark.parametrize("case", CURVED)
def test_a_curve_is_within_a_ten_thousandth_of_a_step_and_the_same_in_every_finisher(case: Case) -> None:
    scale, bias = _scale_and_bias(case)
    longer = _fields(case, scale, bias)
    curve = curve_fields(longer, scale, bias if case.has_bias else None)
    assert curve is not None
    fields, constants = curve
    shorter = requantise_fields(fields, *constants)
    assert shorter is not None
    sums = aligned((ROWS, LANES), np.int32)
    sums[:] = _sums(scale, case.step[0])
    # About every piece of the curve.
    sums[:, 16:] = np.rint(np.linspace(-7, 7, LANES - 16) / scale[:, None])
    results = []
    for finisher in (shorter, {"finisher": finisher_of(FINISHERS, fields)}):
        y = Guarded((ROWS // 4, LANES, 4), np.uint8)
        _run(fields | finisher | {"y": y.address}, sums, y)
        results.append(_rows_of(y))
    np.testing.assert_array_equal(results[0], results[1])
    exact = _curve_in_float64(case, sums, scale, bias)
    inside = np.abs(exact) < 300
    apart = np.abs(np.clip(exact, -case.step[1], 255 - case.step[1]) - (results[0] - float(case.step[1])))
    # Beyond the error of the curve, float32 rounds numbers of up to 255 steps a few times.
    assert (apart[inside] <= 0.5 + 2e-4).all()
    assert (results[0][exact > 300] == 255).all()


@pytest.mark.skipif(not HAS_CURVES, reason="this level has no lookup of 32 numbers")
@pytest.mark.parametrize(
    "change",
    [
        {"step": 0.004},
        {"step": float("nan")},
        {"activation": ACTIVATIONS["tanh"]},
        {"store": STORE_F32},
        {"product_step": 0.1},
        {"summed_step": 0.1},
        {"residual": 1},
    ],
    ids=str,
)
def test_no_curve_is_taken_where_its_error_would_count_or_more_is_done(change: dict[str, Any]) -> None:
    scale = np.full(ROWS, 1e-3, np.float32)
    fields = _fields(Case(activation=("gelu", 0, 0)), scale, scale)
    assert curve_fields(fields, scale, None)
    assert curve_fields(fields | change, scale, None) is None


def _bytes_of(rows: Array) -> Array:
    """u8 [row][lane] as rows of bytes: of 64 lanes in pair order (see movement/bytes.py)."""
    lanes = rows.shape[1]
    if lanes < 64:
        return rows
    g, h, w, b = np.ix_(range(4), range(2), range(4), range(2))
    return rows[:, (16 * (2 * h + b) + 4 * g + w).reshape(-1)]


@pytest.mark.skipif(not HAS_NARROWING, reason="this level has no saturating packs of 64 bytes")
@pytest.mark.parametrize("lanes", [16, 32, 64])
@pytest.mark.parametrize(
    "case", [CASES[0], CASES[7], CASES[5], CURVED[0], CURVED[1]], ids=lambda case: case.activation[0]
)
def test_rows_of_bytes_hold_what_quads_hold(case: Case, lanes: int) -> None:
    scale, bias = _scale_and_bias(case)
    fields, constants = _fields(case, scale, bias), (scale, bias if case.has_bias else None)
    fields, constants = curve_fields(fields, *constants) or (fields, constants)
    shorter = requantise_fields(fields | {"row_bytes": 4 * lanes}, *constants)
    assert shorter is not None
    fields = fields | shorter | {"row_bytes": 4 * lanes}
    sums = aligned((ROWS, lanes), np.int32)
    sums[:] = np.random.default_rng(9).normal(0, 100 * case.step[0], (ROWS, lanes)) / scale[:, None]
    quads, rows = Guarded((ROWS // 4, lanes, 4), np.uint8), Guarded((ROWS, lanes), np.uint8)
    _run(fields | {"y": quads.address}, sums, quads)
    (finisher,) = (
        k for (of, width), k in FINISHERS_TO_BYTES.items() if (of, width) == (shorter["finisher"], lanes)
    )
    _run(fields | {"y": rows.address, "finisher": finisher}, sums, rows)
    np.testing.assert_array_equal(rows.array, _bytes_of(_rows_of(quads)))


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
