"""Vector functions against float64, over all of float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from kernel_runs import call
from scipy import special

from engine.jit import kernel
from engine.kernels.elementwise.panel import PANEL, UNARY_KERNELS, panel_of
from engine.kernels.row import aligned
from engine.kernels.simd.mathematics import silu
from engine.kernels.simd.memory import load_f32, store_f32

# Name, function in float64, bound in ULP of the result (or absolute, below the smallest normal).
FUNCTIONS: list[tuple[str, Callable[[np.ndarray], np.ndarray], float]] = [
    ("Exp", np.exp, 1.5),
    ("Erf", special.erf, 2.5),
    ("Tanh", np.tanh, 2.5),
    ("Sigmoid", special.expit, 3.0),
]
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38, 88.72, 88.73, -87.3, -103.9, -104.1]
)


def _apply(op: str, x: np.ndarray) -> np.ndarray:
    rows = -(-x.size // 16)
    source, result = aligned((rows, 16), np.float32), aligned((rows, 16), np.float32)
    source.reshape(-1)[: x.size] = x
    args = np.zeros(1, PANEL)
    args["a"], args["y"], args["k"], args["row_bytes"] = source.ctypes.data, result.ctypes.data, rows, 64
    call(UNARY_KERNELS[op], args, 0, rows)
    return np.asarray(result.reshape(-1)[: x.size])


def _gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * special.ndtr(x))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize(("op", "meaning"), [("gelu", _gelu), ("gelu_tanh", _gelu_tanh)])
def test_gelu_is_within_its_bound(op: str, meaning: Callable[[np.ndarray], np.ndarray]) -> None:
    x = _all_exponents()
    with np.errstate(all="ignore"):
        exact = meaning(x.astype(np.float64))
    got = _apply(op, x)
    finite = np.isfinite(x)
    unit = np.maximum(np.spacing(np.abs(exact[finite]).astype(np.float32)).astype(np.float64), 2.0**-149)
    assert (np.abs(got[finite] - exact[finite]) <= 4e-8 + 2 * unit).all()
    assert np.array_equal(got[x == np.inf], x[x == np.inf])
    assert (got[x == -np.inf] == 0).all(), "its limit"
    assert np.isnan(_apply(op, np.full(16, np.nan, np.float32))).all()


@kernel("test_silu")
def _silu_of_vectors(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    e = panel_of(args)
    for at in range(64 * tile_begin, 64 * tile_end, 64):
        store_f32(silu(load_f32(e.a + at)), e.y + at)


def test_silu_is_within_its_bound() -> None:
    x = _all_exponents()
    rows = -(-x.size // 16)
    source, result = aligned((rows, 16), np.float32), aligned((rows, 16), np.float32)
    source.reshape(-1)[: x.size] = x
    source[-1, -1] = np.nan
    args = np.zeros(1, PANEL)
    args["a"], args["y"] = source.ctypes.data, result.ctypes.data
    call(_silu_of_vectors, args, 0, rows)
    got, wide = result.reshape(-1), source.reshape(-1).astype(np.float64)
    with np.errstate(all="ignore"):
        exact = wide * special.expit(wide)
    usual = (wide >= -87) & np.isfinite(wide)
    unit = np.maximum(np.spacing(np.abs(exact[usual]).astype(np.float32)).astype(np.float64), 2.0**-149)
    assert (np.abs(got[usual] - exact[usual]) <= 3 * unit).all()
    assert (np.abs(got[wide < -87]) < 2e-36).all(), "its limit"
    assert (got[wide == np.inf] == np.inf).all()
    assert np.isnan(got[-1])


def _all_exponents() -> np.ndarray:
    """Every 4,099th float32, all exponents and signs among them, and the awkward ones."""
    bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    near = np.linspace(-12, 12, 200_001, dtype=np.float32)
    return np.concatenate([x[np.isfinite(x)], near, SPECIAL.astype(np.float32)])


@pytest.mark.parametrize(("op", "function", "bound"), FUNCTIONS, ids=[row[0] for row in FUNCTIONS])
def test_error_in_ulp(op: str, function: Callable[[np.ndarray], np.ndarray], bound: float) -> None:
    x = _all_exponents()
    with np.errstate(all="ignore"):
        exact = function(x.astype(np.float64))
        rounded = exact.astype(np.float32)
        got = _apply(op, x)
        finite = np.isfinite(rounded)
        unit = np.maximum(np.spacing(np.abs(rounded)).astype(np.float64), 2.0**-149)
        error = np.abs(got - exact)[finite] / unit[finite]
    assert np.array_equal(got[~finite], rounded[~finite])
    assert error.max() <= bound, f"{error.max():.2f} ulp at {x[finite][error.argmax()]!r}"


@pytest.mark.parametrize("op", [row[0] for row in FUNCTIONS])
def test_nan_is_handed_on(op: str) -> None:
    assert np.isnan(_apply(op, np.full(16, np.nan, np.float32))).all()
