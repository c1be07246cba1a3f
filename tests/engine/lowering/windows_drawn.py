"""Sizes of a convolution that hypothesis draws."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Sizes = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]


def drawn_sizes(data: st.DataObject) -> Sizes:
    """(image, weights, attributes) of any strides, dilations, pads and groups that fit."""
    groups, per_in, per_out = (data.draw(st.integers(1, 4)) for _ in range(3))
    kernel, strides, dilations = ([data.draw(st.integers(1, 3)) for _ in range(2)] for _ in range(3))
    pads = [data.draw(st.integers(0, 3)) for _ in range(4)]
    least = [(kernel[axis] - 1) * dilations[axis] + 1 - pads[axis] - pads[axis + 2] for axis in range(2)]
    sizes = [data.draw(st.integers(max(1, size), 24)) for size in least]
    image = (data.draw(st.integers(1, 2)), groups * per_in, *sizes)
    attrs = {"group": groups, "strides": strides, "dilations": dilations, "pads": pads}
    return image, (groups * per_out, per_in, *kernel), attrs
