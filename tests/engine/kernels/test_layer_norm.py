"""Layer norms of every form of result: against NumPy, and to the bit against each other and against division."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_runs import Array, Guarded, bytes_of, call, matrix_of, matrix_of_quads, panel_of

from engine.kernels.layout import Lanes, panel_rows, quad_rows
from engine.kernels.norm.moments import MOMENTS
from engine.kernels.norm.rows import NORM, normalize
from engine.kernels.row import aligned
from engine.kernels.simd.narrow import HAS_NARROWING
from engine.lowering.quotients import two_part_inverse

STEP, ZERO = np.float32(0.037), 117
LANES = [Lanes(1, 16), Lanes(2, 16), Lanes(1, 64), Lanes(1, 150), Lanes(1, 40, 16)]
bounded = pytest.mark.skipif(not HAS_NARROWING, reason="this level has no saturating packs of 64 bytes")


class Norm:
    """One norm over x[k, n]; what the record says beyond it comes with each run."""

    def __init__(self, x: Array, lanes: Lanes, *, heads: int = 1, **fields: Any) -> None:
        source = np.random.default_rng([*x.shape, heads])
        self.x, self.lanes, self.heads = x, lanes, heads
        self.gain, self.bias = (aligned(len(x), np.float32) for _ in range(2))
        self.gain[:], self.bias[:] = source.standard_normal((2, len(x)))
        self.fields: dict[str, Any] = {"epsilon": 1e-5, "zero_point": ZERO, "step": STEP, **fields}
        self._panel = panel_of(x, lanes)

    def run(self, *forms: str, vectors: int = 1, **fields: Any) -> dict[str, Array]:
        """The forms asked for, of "y", "quads" and "bytes", as the kernel lays them out."""
        lanes, k = self.lanes, len(self.x)
        shapes = {
            "y": ((panel_rows(k), lanes.width), np.float32),
            "quads": ((quad_rows(k), lanes.width, 4), np.uint8),
            "bytes": ((4 * quad_rows(k), lanes.width), np.uint8),
        }
        made = {form: Guarded((lanes.panels, *shapes[form][0]), shapes[form][1]) for form in forms}
        args = np.zeros(1, NORM)
        places = {name: place.address for name, place in made.items()}
        places |= {f"{name}_panel": place.array.strides[0] for name, place in made.items()}
        constants = {"gain": self.gain.ctypes.data, "bias": self.bias.ctypes.data}
        shape = {"k": k // self.heads, "heads": self.heads, "row_bytes": lanes.row_bytes, "vectors": vectors}
        x = {"x": self._panel.ctypes.data, "x_panel": self._panel.strides[0]}
        for name, value in {**self.fields, **places, **constants, **shape, **x, **fields}.items():
            args[name] = value
        scratch = Guarded((MOMENTS,), np.uint8)
        tiles = lanes.vectors // vectors * self.heads
        for begin, end in ((0, tiles // 2), (tiles // 2, tiles)):
            call(normalize, args, begin, end, scratch.array)
        assert all(place.is_intact() for place in (*made.values(), scratch))
        return {name: place.array.copy() for name, place in made.items()}

    def expected(self, *, keeps_mean: bool = False) -> Array:
        k, n = self.x.shape
        x = self.x.astype(np.float64).reshape(self.heads, k // self.heads, n)
        centred = x if keeps_mean else x - x.mean(axis=1, keepdims=True)
        variance = (centred**2).mean(axis=1, keepdims=True)
        gain, bias = (part[: k // self.heads, None] for part in (self.gain, self.bias))
        return np.asarray((centred / np.sqrt(variance + 1e-5) * gain + bias).reshape(k, n))


def _numbers(k: int, n: int) -> Array:
    source = np.random.default_rng([k, n])
    return (source.standard_normal((k, n)) * 3 + 1).astype(np.float32)


def _tiles(lanes: Lanes) -> list[int]:
    return [vectors for vectors in (1, 2, 4) if lanes.width % (16 * vectors) == 0]


def _bounds(step: float = float(STEP)) -> dict[str, Any]:
    found = two_part_inverse(step)
    assert found is not None
    return {"inverse": found[0], "inverse_rest": found[1]}


def _bytes(y: Array, step: Any = STEP, zero_point: int = ZERO) -> Array:
    """As QuantizeLinear says, but for NaN, which is the least."""
    with np.errstate(invalid="ignore"):
        rounded = np.clip(np.rint(y / np.float32(step)) + zero_point, 0, 255)
    return np.where(np.isnan(y), 0, rounded).astype(np.uint8)


def _extremes(k: int) -> Array:
    """Lanes of one number, of huge and tiny ones, with NaN and infinities, and of numbers next to each other."""
    x = _numbers(k, 40)
    x[:, 0], x[:, 1], x[:, 2] = 0, 7.3, -1e15
    x[k // 2, 3], x[k - 1, 4], x[0, 5], x[k - 1, 6] = np.nan, np.inf, -np.inf, np.inf
    x[0, 6] = -np.inf
    x[:, 7] *= np.float32(1e-25)
    x[:, 8], x[k // 2, 8] = 1e8, 1e8 + 8
    x[:, 9] = np.where(np.arange(k) % 2, 3e38, -3e38)
    return x


@pytest.mark.parametrize("lanes", LANES, ids=str)
@pytest.mark.parametrize("k", [1, 6, 12, 64, 98])
@pytest.mark.parametrize("keeps_mean", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
def test_the_panel_is_numpys(lanes: Lanes, k: int, keeps_mean: bool, heads: int) -> None:
    n = lanes.outer * lanes.pitch
    norm = Norm(_numbers(k * heads, n), lanes, heads=heads, keeps_mean=int(keeps_mean))
    results = [norm.run("y", vectors=vectors)["y"] for vectors in _tiles(lanes)]
    y = matrix_of(results[0], k * heads, n)
    np.testing.assert_allclose(y, norm.expected(keeps_mean=keeps_mean), atol=2e-5, rtol=1e-5)
    for other in results[1:]:
        np.testing.assert_array_equal(matrix_of(other, k * heads, n), y)


@pytest.mark.parametrize("lanes", LANES, ids=str)
@pytest.mark.parametrize("k", [1, 6, 12, 98])
@pytest.mark.parametrize("shorter", [False, pytest.param(True, marks=bounded)])
def test_bytes_are_those_of_the_panel_divided(lanes: Lanes, k: int, shorter: bool) -> None:
    k, n = k + -k % 4 if shorter else k, lanes.outer * lanes.pitch
    norm = Norm(_numbers(k, n), lanes, **_bounds() if shorter else {})
    y = matrix_of(norm.run("y")["y"], k, n)
    for vectors in _tiles(lanes):
        both = norm.run("y", "quads", vectors=vectors)
        np.testing.assert_array_equal(matrix_of(both["y"], k, n), y)
        np.testing.assert_array_equal(matrix_of_quads(both["quads"], k, n), _bytes(y))
        assert not matrix_of_quads(both["quads"], 4 * quad_rows(k), n)[k:].any()
        alone = norm.run("quads", vectors=vectors)["quads"]
        np.testing.assert_array_equal(alone, both["quads"])
        rounded = matrix_of(norm.run("y", "quads", vectors=vectors, rounded=1)["y"], k, n)
        real = (_bytes(y).astype(np.int32) - ZERO).astype(np.float32) * STEP
        np.testing.assert_array_equal(rounded.view(np.int32), real.view(np.int32))


@bounded
@pytest.mark.parametrize("lanes", LANES, ids=str)
@pytest.mark.parametrize("k", [4, 12, 100])
@pytest.mark.parametrize("forms", [("bytes",), ("y", "bytes")], ids=str)
@pytest.mark.parametrize("rounded", [0, 1])
def test_rows_of_bytes_are_the_quads_rearranged(
    lanes: Lanes, k: int, forms: tuple[str, ...], rounded: int
) -> None:
    n = lanes.panels * lanes.width
    norm = Norm(_numbers(k, n), lanes, rounded=rounded, **_bounds())
    plain = norm.run("y", "quads")
    found = norm.run(*forms, vectors=lanes.width // 16)
    np.testing.assert_array_equal(found["bytes"], bytes_of(matrix_of_quads(plain["quads"], k, n), lanes))
    if "y" in found:
        np.testing.assert_array_equal(matrix_of(found["y"], k, n), matrix_of(plain["y"], k, n))


@pytest.mark.parametrize("lanes", [Lanes(1, 40), Lanes(1, 40, 16)], ids=str)
@pytest.mark.parametrize("k", [4, 12, 100])
@pytest.mark.parametrize("keeps_mean", [0, 1])
@pytest.mark.parametrize("shorter", [False, pytest.param(True, marks=bounded)])
def test_lanes_that_are_no_numbers_are_the_least_bytes_and_touch_no_others(
    lanes: Lanes, k: int, keeps_mean: int, shorter: bool
) -> None:
    norm = Norm(_extremes(k), lanes, keeps_mean=keeps_mean, **_bounds() if shorter else {})
    plain = matrix_of(norm.run("y")["y"], k, 40)
    for vectors in _tiles(lanes):
        both = norm.run("y", "quads", vectors=vectors)
        np.testing.assert_array_equal(matrix_of(both["y"], k, 40), plain)
        np.testing.assert_array_equal(matrix_of_quads(both["quads"], k, 40), _bytes(plain))
    if not keeps_mean:
        assert np.isnan(plain[:, 3:7]).all()
        np.testing.assert_array_equal(plain[:, :3], np.repeat(norm.bias[:, None], 3, axis=1))
    assert np.isfinite(plain[:, 10:]).all()


@bounded
@pytest.mark.parametrize("step", [0.037, 2.0**-5, 0.75, 1e-9, 3.3e7, float(np.float32(1 / 3))])
@pytest.mark.parametrize("zero_point", [0, 128, 255])
def test_numbers_around_halves_are_rounded_as_their_quotients(step: float, zero_point: int) -> None:
    step = float(np.float32(step))
    halves = np.concatenate([np.arange(-257, 257) + 0.5, [0, 3e4, -3e4, 2e6, -2e6]])
    near = (halves * step).astype(np.float32)
    steps = [near]
    for towards in (np.inf, -np.inf):
        for _ in range(4):
            steps.append(np.nextafter(steps[-1] if len(steps) % 4 != 1 else near, np.float32(towards)))
    y = np.concatenate(steps)
    y = y[: len(y) // 4 * 4]
    norm = Norm(_numbers(len(y), 16), Lanes(1, 16), zero_point=zero_point, step=step, **_bounds(step))
    norm.gain[:], norm.bias[:] = 0, y
    found = matrix_of_quads(norm.run("quads")["quads"], len(y), 16)
    np.testing.assert_array_equal(found[:, 0], _bytes(y, step, zero_point))
