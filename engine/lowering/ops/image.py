"""pixels and image: between images as ONNX lays them out and lane panels."""

from __future__ import annotations

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.convolution.lanes import CHUNK, PIXELS, move_pixels, to_bytes, to_quads
from engine.kernels.layout import quad_rows
from engine.lowering.builder import F32, U8, Builder, Lowered, OpLowering
from engine.lowering.ops._images import Place, image_place, panel_place
from engine.lowering.ops._products import required
from engine.plan.steps import Layer, Record


def _emit(
    node: Node,
    builder: Builder,
    kernel: Kernel,
    places: tuple[Place, Place],
    shape: tuple[int, ...],
    tiles: int,
) -> None:
    """A move between two places of the pixels [b, p, c], in so many tiles an image."""
    images, pixels, channels = shape
    x, y = places
    builder.emit(
        Layer(node.name, "layout", kernel.name, 0),
        kernel,
        Record(
            PIXELS,
            {
                **x.fields("x"),
                **y.fields("y"),
                "channels": channels,
                "pixels": pixels,
                "fill": y.pitch - pixels,
            },
        ),
        tiles=images * tiles,
        reads=x.buffers,
        writes=y.buffers,
        tile_ns=(0.2 if kernel is move_pixels else 3.0) * pixels * channels / tiles,
    )


def _pixels(node: Node, builder: Builder) -> Lowered:
    value, shape = required(node, 0), node[0].shape
    if value.dtype == F32:
        builder.images[node[0]] = builder.rows(value)
        builder.later[node[0]] = lambda: _float_panel(node, node[0], builder)
        return None
    if value.dtype != U8:
        return f"no panels of {value.dtype}"
    tensor, panel = builder.rows(value), builder.new_panel(shape, quads=True)
    places = image_place(tensor, shape), panel_place(panel)
    _emit(node, builder, to_quads, places, shape, quad_rows(shape[2]))
    builder.quads[node[0]] = panel
    return None


def _float_panel(node: Node, value: Value, builder: Builder) -> None:
    panel, shape = builder.result(value), value.shape
    places = image_place(builder.images[value], shape), panel_place(panel)
    _emit(node, builder, move_pixels, places, shape, -(-shape[1] // CHUNK))
    builder.panels[value] = panel


def _image(node: Node, builder: Builder) -> Lowered:
    value = required(node, 0)
    if value.dtype not in (F32, U8):
        return f"no panels of {value.dtype}"
    is_float = value.dtype == F32
    panel = builder.panel(value) if is_float else builder.quad_panel(value)
    places = panel_place(panel), image_place(builder.new_rows(node[0]), value.shape)
    _, pixels, channels = value.shape
    kernel, tiles = (move_pixels, -(-pixels // CHUNK)) if is_float else (to_bytes, channels)
    _emit(node, builder, kernel, places, value.shape, tiles)
    return None


LOWERINGS = (OpLowering("pixels", _pixels), OpLowering("image", _image))
