"""resize_pixels: images of another size, from panel to panel."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Node
from engine.graph.ops.resize import Resizing
from engine.jit import Kernel
from engine.kernels.resize.parts import Along, Panels, parts_of
from engine.kernels.resize.pixels import BLOCK, PIXELS, resize_pixels
from engine.kernels.row import aligned
from engine.lowering.builder import Builder, Lowered, OpLowering
from engine.lowering.ops._products import required
from engine.lowering.panels import Panel
from engine.plan.steps import Array, Field, Fixed, Layer, Location, Record


def _fixed(table: Array) -> Location:
    made = aligned(table.nbytes, np.uint8)
    made[:] = np.ascontiguousarray(table).view(np.uint8).reshape(-1)
    return Location(Fixed(made))


def _axes(resizing: Resizing) -> tuple[Along, Along, int]:
    """Places down and across, and the width before: a signal of one axis is an image of one row."""
    one = np.zeros(1, np.int64)
    single = (one, one, np.zeros(1, np.float32))
    along = [resizing.places(axis) for axis in range(len(resizing.before))]
    return along[0] if len(along) > 1 else single, along[-1], resizing.before[-1]


def _source(resizing: Resizing, images: int, x: Panel, y: Panel) -> dict[str, Field | Record | Kernel]:
    found = parts_of(*_axes(resizing), images, Panels(x.lanes, x.panel_bytes), Panels(y.lanes, y.panel_bytes))
    return {
        "x": x.location,
        "x_row": x.lanes.row_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "y_row": y.lanes.row_bytes,
        "k": y.k,
        "blocks": -(-y.k // BLOCK),
        "parts": _fixed(found.parts),
        "firsts": _fixed(found.firsts),
        "patterns": _fixed(found.patterns),
        "linear": int(resizing.mode == "linear"),
    }


def _lower(node: Node, builder: Builder) -> Lowered:
    resizings: tuple[Resizing, ...] = node.attrs["resizings"]
    if any(len(resizing.before) > 2 for resizing in resizings):
        return "images have two axes, or one"
    panels = [builder.panel(required(node, place)) for place in range(len(node.inputs))]
    y = builder.result(node[0])
    found = [_source(resizing, node[0].shape[0], x, y) for resizing, x in zip(resizings, panels, strict=True)]
    following: int | Record = 0
    for fields in found[:0:-1]:
        following = Record(PIXELS, {**fields, "adds": 1, "following": following})
    builder.emit(
        Layer(node.name, node.op, resize_pixels.name),
        resize_pixels,
        Record(PIXELS, {**found[0], "following": following}),
        tiles=y.lanes.panels * -(-y.k // BLOCK),
        reads=[buffer for panel in panels for buffer in panel.buffers],
        writes=y.buffers,
        tile_ns=0.15 * min(y.k, BLOCK) * y.lanes.width * len(found),
    )
    builder.panels[node[0]] = y
    return None


LOWERINGS = (OpLowering("resize_pixels", _lower),)
