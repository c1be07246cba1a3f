"""Convolutions of 3 x 3 in bfloat16 by fewer products: pixels, tiles and moved weights are rounded, sums are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_bf16_convolution import Case, convolved, kernels_of, needs_pairs, rounded

from engine import Engine

Array = NDArray[Any]
pytestmark = needs_pairs
FORCED: dict[str, Any] = {"precision": "bf16", "kernel": "winograd_bf16"}
SAME: dict[str, Any] = {"pads": [1, 1, 1, 1]}
# Image, results, attributes: tiles below, at and above a panel; images that end within a tile; odd channels and results.
CASES: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((1, 32, 8, 8), 32, SAME),
    ((1, 64, 7, 7), 18, SAME),
    ((2, 64, 7, 7), 30, SAME),
    ((3, 48, 13, 17), 41, {"pads": [0, 1, 2, 3]}),
    ((1, 40, 3, 70), 36, {}),
    ((1, 33, 56, 56), 66, SAME),
    ((1, 256, 14, 14), 128, SAME),
    ((1, 36, 70, 3), 24, SAME),
]
_B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def by_tiles(x: Array, w: Array, attrs: dict[str, Any]) -> tuple[Array, Array]:
    """F(2 x 2, 3 x 3) of rounded numbers, in float64; and the sums of magnitudes behind each result."""
    top, left, bottom, right = attrs.get("pads", [0] * 4)
    down, across = x.shape[2] + top + bottom - 2, x.shape[3] + left + right - 2
    padded = np.pad(rounded(x), ((0, 0), (0, 0), (top, bottom + 2), (left, right + 2)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (2, 3))[
        :, :, : down + 1 : 2, : across + 1 : 2
    ]
    tiles = rounded(np.einsum("ai,bcyxij,dj->bcyxad", _B, seen, _B))
    moved = rounded(np.einsum("ai,mcij,dj->mcad", _G, w.astype(np.float64), _G))
    results = []
    for a, t, g in ((_A, tiles, moved), (abs(_A), abs(tiles), abs(moved))):
        products = np.einsum("bcyxad,mcad->bmyxad", t, g, optimize=True)
        y = np.einsum("ia,bmyxad,jd->bmyixj", a, products, a)
        shape = (*y.shape[:2], 2 * y.shape[2], 2 * y.shape[4])
        results.append(y.reshape(shape)[:, :, :down, :across])
    return results[0], results[1]


class Tiled(Case):
    """A convolution whose reference is made of tiles."""

    def __init__(self, image: tuple[int, ...], results: int, end: str = "", **attrs: Any) -> None:
        super().__init__(image, (results, image[1], 3, 3), end, **attrs)

    def reference(self, w: Array, attrs: dict[str, Any]) -> tuple[Array, Array]:
        return by_tiles(self.x, w, attrs)


@pytest.mark.parametrize(("image", "results", "attrs"), CASES)
def test_tiles_and_moved_weights_are_rounded_and_sums_are_not(
    image: tuple[int, ...], results: int, attrs: dict[str, Any]
) -> None:
    case = Tiled(image, results, **attrs)
    engine = case.engine(**FORCED)
    case.check(engine.run([case.x])[0])
    assert "winograd_bf16" in kernels_of(engine)


@pytest.mark.parametrize(
    "end", ["clip", "sigmoid", "residual relu", "residual sigmoid", "again", "residual again"]
)
@pytest.mark.parametrize("image", [(1, 32, 10, 9), (2, 40, 7, 7), (1, 64, 28, 28)])
def test_the_end_of_the_step_is_float32(image: tuple[int, ...], end: str) -> None:
    """Where a product reads it `again`, results are pairs, or rows and pairs."""
    case = Tiled(image, image[1], end, **SAME)
    engine = case.engine(**FORCED)
    outputs = engine.run([case.x])
    if end != "again":
        case.check(outputs[0])
    if end.endswith("again"):
        made = kernels_of(engine)
        assert "dense_bf16" in made
        assert "pixels_to_pairs" not in made[1:], "of the image alone"
        alone = Tiled(image, image[1], end.removesuffix("again").strip(), **SAME)
        summed = alone.engine(**FORCED).run([alone.x])[0]
        want = convolved(rounded(summed), rounded(case.last), {})
        size = convolved(np.abs(summed), np.abs(case.last), {})
        assert np.all(np.abs(outputs[-1] - want) <= 8 * 2.0**-24 * size)


def test_it_is_of_the_size_of_roundings_of_operands() -> None:
    """Against the convolution of unrounded numbers, in the root mean square: taps of bfloat16 lose less, but no half."""
    case, exact = Tiled((1, 128, 28, 28), 96, **SAME), Case((1, 128, 28, 28), (96, 128, 3, 3), **SAME)
    want = convolved(exact.x.astype(np.float64), exact.w.astype(np.float64), SAME) + exact.bias
    by_taps, by_fewer = (
        np.sqrt(np.mean((case.engine(precision="bf16", kernel=kernel).run([case.x])[0] - want) ** 2))
        for kernel in ("dense_bf16", "winograd_bf16")
    )
    assert by_fewer < 2 * by_taps
    assert by_fewer < 0.01 * np.sqrt(np.mean(want**2))


def test_bits_are_those_of_one_thread() -> None:
    case = Tiled((2, 48, 29, 30), 50, "again", **SAME)
    one, two = (Engine(case.content, batch_size=2, num_cores=n, **FORCED).run([case.x]) for n in (1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


def test_without_being_asked_nothing_is_rounded() -> None:
    case = Tiled((1, 64, 14, 14), 64, **SAME)
    assert not any("bf16" in kernel for kernel in kernels_of(case.engine(kernel="winograd_bf16")))
