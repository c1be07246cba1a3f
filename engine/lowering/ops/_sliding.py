"""Windows over bytes that see one channel: the step that both depthwise convolutions and the largest byte become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.graph.ir import Node
from engine.jit import Kernel
from engine.kernels.convolution.planes import PLANES, Window
from engine.kernels.convolution.sliding import QUAD, SLIDING, Places, band_rows
from engine.kernels.layout import quad_rows
from engine.kernels.row import aligned
from engine.lowering.builder import Builder
from engine.lowering.ops._images import constant_fill, place_of_pixels, planes_fields, window_of
from engine.lowering.ops._products import keep, required
from engine.lowering.panels import Panel
from engine.plan.steps import Array, Field, Fixed, Layer, Location, Record


def whole_taps(window: Window, multiple: int) -> tuple[Array, int]:
    """Bytes to pixel 0 of each tap, the last again until there is a multiple of so many; how many there are."""
    found = window.offsets()
    found += found[-1:] * (-len(found) % multiple)
    made = aligned(len(found), np.int32)
    made[:] = 4 * np.asarray(found, np.int64)
    return made, len(found)


def emit_sliding(
    node: Node, builder: Builder, kernel: Kernel, y: Panel, fill: int, fields: dict[str, Field | Record]
) -> None:
    """Append the step that slides over input 0, and keep its quads.

    fill     byte beyond the image
    fields   weights, first sums and epilogue, of a convolution
    """
    value, whole = required(node, 0), window_of(node)
    rows = band_rows(whole)
    window, bands = replace(whole, result=(rows, whole.result[1])), -(-whole.result[0] // rows)
    images, pixels, channels = node[0].shape
    x, lanes = place_of_pixels(value, builder), y.lanes
    places = Places.of(window, x.width)
    offsets, taps = whole_taps(window, QUAD if fields else 1)
    own: dict[str, Field | Record] = {
        "planes": Record(
            PLANES,
            {
                **planes_fields(x, window, x.rows),
                "fill": constant_fill(np.asarray(fill, np.uint8), value.dtype),
            },
        ),
        "offsets": Location(Fixed(offsets)),
        "taps": taps,
        "quads": quad_rows(channels),
        "pitch": window.pitch,
        "height": whole.result[0],
        "width": whole.result[1],
        "bands": bands,
        "band_rows": rows,
        "lane_pitch": lanes.pitch,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "row_bytes": lanes.row_bytes,
        "flat": places.flat,
        "line": places.line,
        "copies": places.copies,
    }
    builder.emit(
        Layer(node.name, node.op, kernel.name),
        kernel,
        Record(SLIDING, {**own, **fields}),
        tiles=images * bands * quad_rows(channels),
        reads=x.buffers,
        writes=y.buffers,
        tile_ns=pixels / bands * (0.1 * taps + 0.5),
        scratch=places.size,
    )
    keep(node, builder, y)
