"""Sizes of a sliding window, as operators over pixels take them, and the windows of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.graph import Node, Value, node

Pair = tuple[int, int]


def pixels(x: Value, name: str) -> Value:
    """An image's pixels."""
    return node("pixels", x, name=name)[0]


def image(y: Value, size: tuple[int, ...], name: str) -> Value:
    """Pixels as an image again."""
    return node("image", y, name=name, size=tuple(size))[0]


def window_of(step: Node, x: Value, kernel: Sequence[int]) -> tuple[Pair, ...]:
    """Attribute `window` of a convolution or pooling of images x, by the sizes of its kernel."""

    def pair(numbers: Any, missing: int) -> Pair:
        return (missing, int(numbers[0])) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))

    axes, attrs, result = len(x.shape) - 2, step.attrs, step[0]
    sizes = ((x.shape[2:], 1), (result.shape[2:], 1), (kernel, 1))
    steps = ((attrs["strides"], 1), (attrs["dilations"], 1), (attrs["pads"][:axes], 0))
    return tuple(pair(*numbers) for numbers in (*sizes, *steps))


def is_plain(window: tuple[Pair, ...]) -> bool:
    """Whether a window sees one pixel, each in its turn: then there is nothing to lay side by side."""
    size, result, kernel, stride, _, begin = window
    return kernel == stride == (1, 1) and begin == (0, 0) and size == result


def windows(x: Value, window: tuple[Pair, ...], channels: int, fill: Value | None, name: str) -> Value:
    """What the window sees of pixels x; x itself where that is each pixel."""
    if is_plain(window) and channels == x.shape[2]:
        return x
    return node("windows", x, fill, name=name, window=window, channels=channels)[0]
