"""Images of another size on panels, and sums of such, compared with their meaning in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lowered_operators import check, fed, floats

from engine.graph import node
from engine.graph.ops.resize import Resizing

MODES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")


def _resizing(before: tuple[int, ...], after: tuple[int, ...], mode: str, kind: str) -> Resizing:
    scales = tuple(new / old for new, old in zip(after, before, strict=True))
    return Resizing(before, after, scales, mode, kind, "round_prefer_floor")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["nearest", "linear"])
@pytest.mark.parametrize("before", [(9, 33), (16, 16), (7, 5), (1, 1)])
@pytest.mark.parametrize("after", [(18, 66), (9, 33), (32, 128), (5, 40), (1, 1), (36, 16)])
def test_pixels_of_another_size(
    mode: str, kind: str, before: tuple[int, int], after: tuple[int, int]
) -> None:
    x, array = fed("x", floats(2, before[0] * before[1], 6))
    check(
        [node("resize_pixels", x, resizings=(_resizing(before, after, mode, kind),))[0]],
        {x: array},
        atol=2e-6,
    )


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("channels", [1, 64, 130])
@pytest.mark.parametrize("after", [(12, 16), (10, 10)])
def test_sums_of_several_sizes(images: int, channels: int, after: tuple[int, int]) -> None:
    sizes = ((3, 4), (6, 8), (10, 10), (12, 16))
    kinds = ("linear", "nearest", "linear", "nearest")
    inputs = [fed(f"x{i}", floats(images, h * w, channels)) for i, (h, w) in enumerate(sizes)]
    resizings = tuple(
        _resizing(size, after, "half_pixel", kind) for size, kind in zip(sizes, kinds, strict=True)
    )
    check([node("resize_pixels", *(x for x, _ in inputs), resizings=resizings)[0]], dict(inputs), atol=3e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_size(data: st.DataObject) -> None:
    axes = data.draw(st.integers(1, 2))
    before, after = (tuple(data.draw(st.integers(1, 70)) for _ in range(axes)) for _ in range(2))
    images, channels = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9))
    x, array = fed("x", floats(images, int(np.prod(before)), channels))
    resizing = _resizing(
        before, after, data.draw(st.sampled_from(MODES)), data.draw(st.sampled_from(("nearest", "linear")))
    )
    check([node("resize_pixels", x, resizings=(resizing,))[0]], {x: array}, atol=3e-6)


def test_an_infinite_pixel_stays_where_it_is() -> None:
    array = floats(1, 64, 3)
    array[0, 27] = np.inf
    x, _ = fed("x", array)
    check(
        [node("resize_pixels", x, resizings=(_resizing((8, 8), (16, 16), "asymmetric", "nearest"),))[0]],
        {x: array},
    )
