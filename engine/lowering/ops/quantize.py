"""quantize, centre and rounded: an f32 panel stored in another form."""

from __future__ import annotations

from engine.graph.ir import Node
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.products.epilogue import EPILOGUE
from engine.kernels.quantize.rows import QUANTIZE, QUANTIZE_IMAGES, store_panel, store_quads
from engine.lowering.builder import Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import keep, required, result_panel, store_fields
from engine.plan.steps import Field, Layer, Record, Span


def _lower_as(kind: str, form: str) -> OpLowering:
    def lower(node: Node, builder: Builder) -> Lowered:
        if not node[0].shape:
            return "it has no features"
        store = (form, node.attrs["scale"], node.attrs["zero_point"])
        value = required(node, 0)
        if form == "quantized" and value in builder.images and value not in builder.panels:
            return _of_images(node, builder, store)
        x, y = builder.panel(required(node, 0)), result_panel(node, builder, store)
        epilogue: dict[str, Field] = {
            **store_fields(store),
            "m": x.k,
            "y": y.location,
            "y_panel": y.panel_bytes,
            "row_bytes": x.lanes.row_bytes,
        }
        fields: dict[str, Field | Record] = {
            "x": x.location,
            "x_panel": x.panel_bytes,
            "epilogue": Record(EPILOGUE, epilogue),
        }
        builder.emit(
            Layer(node.name, node.op, store_panel.name),
            store_panel,
            Record(QUANTIZE, fields),
            tiles=x.lanes.vectors,
            reads=x.buffers,
            writes=y.buffers,
            tile_ns=6.0 * x.k,
            span=Span(x.lanes, per_vector=1),
        )
        keep(node, builder, y)
        return None

    return OpLowering(kind, lower)


def _of_images(node: Node, builder: Builder, store: tuple[str, float, int]) -> Lowered:
    """Of pixels that still lie as an image: no panel of them is made."""
    value = required(node, 0)
    x, y, (_, pixels, channels) = builder.images[value], result_panel(node, builder, store), value.shape
    lanes = y.lanes
    epilogue: dict[str, Field] = {
        **store_fields(store),
        "y": y.location,
        "y_panel": y.panel_bytes,
        "row_bytes": lanes.row_bytes,
    }
    fields: dict[str, Field | Record] = {
        "x": place_of(x),
        "channels": channels,
        "pixels": pixels,
        "pitch": lanes.pitch,
        "epilogue": Record(EPILOGUE, epilogue),
    }
    builder.emit(
        Layer(node.name, node.op, store_quads.name),
        store_quads,
        Record(QUANTIZE_IMAGES, fields),
        tiles=lanes.outer * lanes.pitch // VECTOR_LANES,
        reads=buffers(x),
        writes=y.buffers,
        tile_ns=6.0 * channels,
    )
    keep(node, builder, y)
    return None


LOWERINGS = (
    _lower_as("quantize", "quantized"),
    _lower_as("centre", "centred"),
    _lower_as("rounded", "rounded"),
)
