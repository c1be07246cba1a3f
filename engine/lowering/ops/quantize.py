"""quantize, centre and rounded: an f32 panel stored in another form."""

from __future__ import annotations

from engine.graph.ir import Node
from engine.kernels.products.epilogue import EPILOGUE
from engine.kernels.quantize.rows import QUANTIZE, store_panel
from engine.lowering.builder import Builder, Lowered, OpLowering
from engine.lowering.ops._products import keep, required, result_panel, store_fields
from engine.plan.steps import Field, Layer, Record, Span


def _lower_as(kind: str, form: str) -> OpLowering:
    def lower(node: Node, builder: Builder) -> Lowered:
        if not node[0].shape:
            return "it has no features"
        store = (form, node.attrs["scale"], node.attrs["zero_point"])
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


LOWERINGS = (
    _lower_as("quantize", "quantized"),
    _lower_as("centre", "centred"),
    _lower_as("rounded", "rounded"),
)
