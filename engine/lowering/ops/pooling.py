"""MaxPool and AveragePool of images, or of signals with one axis: rows to rows; the largest of pixels: quads to quads."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Node
from engine.kernels.convolution.sliding import LARGEST_QUADS
from engine.kernels.pooling.rows import KERNELS, POOL, scratch_bytes
from engine.lowering.builder import Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import required
from engine.lowering.ops._sliding import emit_sliding
from engine.plan.steps import Array, Field, Layer, Record


def _counts(node: Node, axis: int, size: int, after: int) -> Array:
    """How many taps of each window count along one axis."""
    attrs, axes = node.attrs, len(node.attrs["strides"])
    begin, end = attrs["pads"][axis], attrs["pads"][axis + axes]
    taps = np.arange(attrs["kernel_shape"][axis]) * attrs["dilations"][axis]
    places = np.arange(after)[:, None] * attrs["strides"][axis] - begin + taps
    low, high = (-begin, size + end) if attrs.get("count_include_pad") else (0, size)
    counted: Array = ((places >= low) & (places < high)).sum(axis=1).astype(np.float32)
    return counted


def _pool(node: Node, builder: Builder) -> Lowered:
    value, attrs = required(node, 0), node.attrs
    kernel = KERNELS.get((node.op, value.dtype))
    if kernel is None or len(value.shape) not in (3, 4):
        return "images have two axes, or one, of float32 (their largest: or of bytes)"
    axes = len(value.shape) - 2
    sizes, after = value.shape[2:], node[0].shape[2:]
    x, y = builder.rows(value), builder.new_rows(node[0])
    reach = (
        (after[-1] - 1) * attrs["strides"][-1] + (attrs["kernel_shape"][-1] - 1) * attrs["dilations"][-1] + 1
    )
    left, images = int(attrs["pads"][axes - 1]), int(np.prod(value.shape[:2]))
    fields: dict[str, Field | Record] = {"x": place_of(x), "y": place_of(y), "left": left, "reach": reach}
    fields["top"] = int(attrs["pads"][0]) if axes > 1 else 0
    for (first, second), pair in (
        (("height", "width"), sizes),
        (("rows", "columns"), after),
        (("down", "across"), attrs["kernel_shape"]),
        (("stride_down", "stride_across"), attrs["strides"]),
        (("dilation_down", "dilation_across"), attrs["dilations"]),
    ):
        fields |= {first: int(pair[0]) if axes > 1 else 1, second: int(pair[-1])}
    if node.op == "AveragePool":
        down = _counts(node, 0, sizes[0], after[0]) if axes > 1 else np.ones(1, np.float32)
        across = _counts(node, axes - 1, sizes[-1], after[-1])
        fields |= {"down_counts": builder.fixed(down), "across_counts": builder.fixed(across)}
    taps = attrs["kernel_shape"][0] * np.prod(sizes) + attrs["kernel_shape"][-1] * np.prod(after)
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(POOL, fields),
        tiles=images,
        reads=buffers(x),
        writes=buffers(y),
        tile_ns=0.1 * float(taps),
        scratch=scratch_bytes(reach, left + sizes[-1], attrs["strides"][-1], value.dtype.itemsize),
    )
    return None


def _largest_pixels(node: Node, builder: Builder) -> Lowered:
    y = builder.new_panel(node[0].shape, quads=True)
    emit_sliding(node, builder, LARGEST_QUADS, y, 0, {})
    return None


LOWERINGS = (
    OpLowering("AveragePool", _pool),
    OpLowering("MaxPool", _pool),
    OpLowering("largest_pixels", _largest_pixels),
)
