"""Windows laid out band by band give the bits of windows over whole planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_convolution import CASES, check, convolution

from engine import Engine, explain
from engine.lowering.ops import _banded

# Bands of several rows, of parts of a row, of two images; of bytes too.
LARGER: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 8, 40, 40), (14, 8, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 3, 64, 64), (16, 3, 6, 6), {"strides": [2, 2], "pads": [2, 2, 2, 2]}),
    ((2, 8, 16, 24), (12, 8, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 5, 9, 300), (7, 5, 3, 5), {"pads": [1, 2, 1, 2], "dilations": [1, 2]}),
    ((1, 6, 50, 13), (30, 6, 5, 3), {"strides": [3, 1]}),
    ((1, 4, 2000), (6, 4, 9), {"pads": [4, 4]}),
]


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_banded, "LEAST_L2S", 0.0)
    monkeypatch.setattr(_banded, "TILES_EACH", 1)


@pytest.mark.parametrize(("image", "weights", "attrs"), [*CASES, *LARGER])
def test_result_is_that_of_onnxruntime(
    image: tuple[int, ...], weights: tuple[int, ...], attrs: dict[str, Any]
) -> None:
    b, x = convolution(image, weights, **attrs)
    check(b, x, weights)


@pytest.mark.parametrize(("image", "weights", "attrs"), LARGER)
def test_bits_are_those_of_whole_planes(
    image: tuple[int, ...], weights: tuple[int, ...], attrs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    b, x = convolution(image, weights, **attrs)
    model, batch = b.model().SerializeToString(), image[0]
    assert "planes" not in str(explain(model, batch_size=batch, num_cores=1))
    found = [Engine(model, batch_size=batch, num_cores=cores).run([x])[0] for cores in (1, 2)]
    monkeypatch.setattr(_banded, "LEAST_L2S", 1e9)
    found.append(Engine(model, batch_size=batch, num_cores=1).run([x])[0])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
