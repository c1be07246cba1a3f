"""When the epilogue of an integer product may go by the shorter way of `kernels/products/requantise.py`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.jit import Kernel
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.curve import CURVE_ERROR, DEGREE, HAS_CURVES, PIECE, coefficients, has_curve
from engine.kernels.products.epilogue import STORE_QUANTIZED
from engine.kernels.products.requantise import BIASED, CURVED, CURVED_BIASED, PLAIN, REQUANTISE, SUMMED
from engine.kernels.row import aligned
from engine.kernels.simd.lookup import PIECES
from engine.lowering.panels import STRIP_MARGIN
from engine.plan.steps import Array, Field, Fixed, Location

# Quotients up to here are within an int32, whatever the sums.
_LARGEST = 2.0**30
# Within these, neither steps nor their inverses, nor what is left of a division, come near the ends of float32.
_STEPS = (2.0**-60, 2.0**60)
_SUMS = 2.0**31
# Of a step, by which a curve may be wrong before its results are rounded.
_LITTLE = 1e-4
_ACTIVATIONS = {number: name for name, number in ACTIVATIONS.items()}


def are_in_reach(largest: float, step: float) -> bool:
    """Whether numbers up to `largest`, divided by a step, stay within an int32, and the division is a plain one."""
    # A comparison with NaN is false: such constants go the longer way.
    return _STEPS[0] < step < _STEPS[1] and largest / step < _LARGEST


def curve_fields(
    fields: Mapping[str, Field], scale: Array, bias: Array | None
) -> tuple[dict[str, Field], tuple[Array, Array | None]] | None:
    """The epilogue's fields, scale and bias where its activation is a curve that counts in steps; None where it is not.

    Of integer sums that get scale, bias and activation only, before they become bytes.
    """
    step = np.float32(fields.get("step", 0))  # type: ignore[arg-type]
    name = _ACTIVATIONS[int(fields.get("activation", 0))]  # type: ignore[arg-type]
    if not HAS_CURVES or not has_curve(name) or _formula(fields) not in (PLAIN, BIASED):
        return None
    if fields.get("store") != STORE_QUANTIZED or not step > CURVE_ERROR / _LITTLE:
        return None
    piece = np.float32(PIECE)
    rate, counted = float(piece / step), (scale / piece, None if bias is None else bias / piece)
    if not rate * _largest_sum(*counted) < _LARGEST:
        return None
    table = aligned((DEGREE + 1, PIECES), np.float32)
    table[:] = coefficients(name, float(step))
    found: dict[str, Field] = {
        **fields,
        "activation": ACTIVATIONS["curve"],
        "curve": Location(Fixed(table)),
        "scale": _lasting(counted[0]),
        "first_number": rate,
        "step": 1.0,
    }
    if counted[1] is not None:
        found["bias"] = _lasting(counted[1])
    return found, counted


def _largest_sum(scale: Array, bias: Array | None) -> float:
    """What no sum exceeds, scaled and with its bias."""
    return _SUMS * float(np.max(np.abs(scale))) + (0.0 if bias is None else float(np.max(np.abs(bias))))


def _lasting(numbers: Array) -> Location:
    """Numbers of rows, with room behind for those of a strip's rows that do not exist."""
    made = aligned(numbers.size + STRIP_MARGIN, np.float32)
    made[: numbers.size] = numbers.reshape(-1)
    return Location(Fixed(made))


def _least_and_most(fields: Mapping[str, Field]) -> tuple[int, int] | None:
    """The bytes that the activation leaves; None where it does more than to bound its numbers."""
    activation = fields.get("activation", 0)
    if activation in (ACTIVATIONS["none"], ACTIVATIONS["curve"]):
        return 0, 255
    if activation == ACTIVATIONS["relu"]:
        bounds = (0.0, np.inf)
    elif activation == ACTIVATIONS["clip"]:
        bounds = (float(fields["first_number"]), float(fields["second_number"]))  # type: ignore[arg-type]
    else:
        return None
    step, zero_point = np.float32(fields["step"]), float(fields["zero_point"])  # type: ignore[arg-type]
    least, most = (int(np.clip(np.rint(np.float32(bound) / step) + zero_point, 0, 255)) for bound in bounds)
    return least, most


def _formula(fields: Mapping[str, Field]) -> str | None:
    """The formula for these fields, if there is one."""
    is_rounded, has_bias = fields.get("product_step", 0) != 0, fields.get("bias", 0) != 0
    if fields.get("summed_step", 0) != 0:
        return None
    if fields.get("residual", 0) != 0:
        is_bytes = fields.get("residual_step", 0) != 0
        return SUMMED if is_bytes and is_rounded and not has_bias else None
    if is_rounded:
        return None
    if fields.get("activation", 0) == ACTIVATIONS["curve"]:
        return CURVED_BIASED if has_bias else CURVED
    return BIASED if has_bias else PLAIN


def _largest(fields: Mapping[str, Field], formula: str, scale: Array, bias: Array | None) -> float:
    """What no number before the last rounding exceeds."""
    if formula == SUMMED:
        return 256.0 * (_product_scale(fields) + float(fields["residual_step"]))  # type: ignore[arg-type]
    # A curve's numbers count pieces: in steps they are so many times as much.
    rate = float(fields["first_number"]) if formula in (CURVED, CURVED_BIASED) else 1.0  # type: ignore[arg-type]
    return rate * _largest_sum(scale, bias)


def requantise_fields(
    fields: Mapping[str, Field], scale: Array, bias: Array | None
) -> dict[str, Field | Kernel] | None:
    """The epilogue's further fields, finisher included, where the shorter way gives the same bytes; None otherwise.

    fields   of the epilogue as they are without
    scale    float32 [1] or [m], constant
    bias     float32 [m], constant, if there is one
    """
    if not REQUANTISE or fields.get("store") != STORE_QUANTIZED or int(fields["m"]) % 4:  # type: ignore[arg-type]
        return None
    formula = _formula(fields)
    names = ("step", "product_step") if formula == SUMMED else ("step",)
    steps = [float(fields[name]) for name in names]  # type: ignore[arg-type]
    # A comparison with NaN is false: such constants go the longer way.
    if formula is None or not all(_STEPS[0] < step < _STEPS[1] for step in steps):
        return None
    bounds, last = _least_and_most(fields), _largest(fields, formula, scale, bias) / steps[0]
    if bounds is None or not last < _LARGEST or not _largest_sum(scale, None) / steps[-1] < _LARGEST:
        return None
    found: dict[str, Field | Kernel] = {
        "finisher": REQUANTISE[formula],
        "least": bounds[0],
        "most": bounds[1],
        "inverse": _inverse(steps[0]),
    }
    if formula == SUMMED:
        found |= {"product_inverse": _inverse(steps[1]), "product_scale": _product_scale(fields)}
    return found


def _product_scale(fields: Mapping[str, Field]) -> float:
    return float(fields.get("product_scale", 0) or fields["product_step"])  # type: ignore[arg-type]


def _inverse(step: float) -> float:
    return float(np.float32(1) / np.float32(step))
