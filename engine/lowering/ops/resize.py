"""Resize of images, or of signals with one axis: nearest pixels, or linear between them."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Node
from engine.graph.ops.resize import places_along
from engine.kernels.resize.rows import RESIZE, resize, scratch_bytes
from engine.lowering.builder import F32, Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import required
from engine.plan.steps import Field, Layer, Location, Record


def _table(builder: Builder, node: Node, axis: int, size: int) -> tuple[Location, Location]:
    low, high, share = places_along(node.attrs, axis, size)
    return builder.fixed(np.stack([low, high], axis=1).astype(np.int64)), builder.fixed(share)


def _lower(node: Node, builder: Builder) -> Lowered:
    value = required(node, 0)
    before, after = value.shape, node[0].shape
    if value.dtype != F32 or len(before) < 2 or before[:-2] != after[:-2]:
        return "it is not of float32 along the last two axes"
    linear = node.attrs["mode"] == "linear"
    x, y = builder.rows(value), builder.new_rows(node[0])
    down, down_shares = _table(builder, node, len(before) - 2, before[-2])
    across, across_shares = _table(builder, node, len(before) - 1, before[-1])
    chosen = places_along(node.attrs, len(before) - 1, before[-1])[0]
    doubles = not linear and np.array_equal(chosen, np.arange(2 * before[-1]) // 2)
    fields: dict[str, Field | Record] = {
        "x": place_of(x),
        "y": place_of(y),
        "height": before[-2],
        "width": before[-1],
        "rows": after[-2],
        "columns": after[-1],
        "down": down,
        "across": across,
        "down_shares": down_shares if linear else 0,
        "across_shares": across_shares if linear else 0,
        "doubles": int(doubles),
    }
    builder.emit(
        Layer(node.name, node.op, resize.name),
        resize,
        Record(RESIZE, fields),
        tiles=int(np.prod(before[:-2])),
        reads=buffers(x),
        writes=buffers(y),
        tile_ns=(1.5 if linear else 0.2 if doubles else 0.7) * after[-1] * after[-2],
        scratch=scratch_bytes(before[-1]),
    )
    return None


LOWERINGS = (OpLowering("Resize", _lower),)
