"""Forms of bfloat16: stored by the step before, beside its f32 panel or instead of it, or made by a step of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.graph.ir import Value
from engine.jit import Kernel
from engine.kernels.bf16_planes.rows import FORMS, PLANES, ROW_BYTES, TILE_K, vector_bytes
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.movement.bytes import BYTES, TILE_QUADS, quads_to_lane_rows
from engine.kernels.products.arguments import PRODUCT
from engine.lowering.panels import Panel
from engine.plan.steps import Buffer, Field, Layer, Location, Record, Span, Step, Tensor

if TYPE_CHECKING:
    from engine.lowering.builder import Builder

# Forms that steps can store themselves: products both, layer norms and attention the plane.
STORED = ("planes1", "rows")


def new_planes(panel: Panel, form: str) -> Panel:
    """A fresh place for a panel's numbers in a form of bfloat16, one of `bf16_planes.rows.FORMS`.

    The bytes of its panels are those of what its kernels count by: of rows, two vectors of lanes.
    """
    vectors = panel.lanes.width // VECTOR_LANES
    if form == "rows":
        count, size = -(-vectors * panel.lanes.panels // 2), panel.k * ROW_BYTES
    else:
        count, size = panel.lanes.panels, vectors * vector_bytes(panel.k, int(form.removeprefix("planes")))
    return Panel(Location(Buffer(size * count)), panel.lanes, panel.k, size)


def _stores(args: Record, fields: Mapping[str, Field]) -> Record:
    """A step's args with other places to store to: in its epilogue, where it has one."""
    epilogue = args.fields.get("epilogue")
    if isinstance(epilogue, Record):
        return Record(
            args.dtype, {**args.fields, "epilogue": Record(epilogue.dtype, {**epilogue.fields, **fields})}
        )
    return Record(args.dtype, {**args.fields, **fields})


def drop_unread(builder: Builder, outputs: Iterable[Tensor]) -> None:
    """Let steps that store planes leave out the f32 panel beside them where nobody reads it."""
    read = {id(tensor.location.place) for tensor in outputs if tensor.location is not None}
    for step in builder.steps:
        if isinstance(step, Step):
            read |= {id(buffer) for buffer in step.reads}
    for value, index in builder.makers.items():
        step, panel = builder.steps[index], builder.panels[value]
        has_planes = any((value, form) in builder.planes for form in STORED)
        if has_planes and isinstance(step, Step) and not read & set(map(id, panel.buffers)):
            kept = tuple(buffer for buffer in step.writes if buffer not in panel.buffers)
            builder.steps[index] = replace(step, args=_stores(step.args, {"y": 0}), writes=kept)


def _can_store(step: Step, form: str, k: int) -> bool:
    epilogue = step.args.fields.get("epilogue", step.args)
    if form not in STORED or not isinstance(epilogue, Record) or "planes" in epilogue.fields:
        return False
    return step.args.dtype == PRODUCT if form == "rows" else k % TILE_K == 0


def stored_form(builder: Builder, value: Value, form: str) -> Panel | None:
    """The value in a form of bfloat16 that the step that makes it stores, if it can."""
    step = builder.steps[builder.makers[value]] if value in builder.makers else None
    if not isinstance(step, Step) or not _can_store(step, form, value.shape[-1]):
        return None
    y = new_planes(builder.panels[value], form)
    vector = 0 if form == "rows" else vector_bytes(y.k, 1)
    args = _stores(step.args, {"planes": y.location, "planes_vector": vector})
    builder.steps[builder.makers[value]] = replace(step, args=args, writes=(*step.writes, *y.buffers))
    return y


def _emit_form(
    builder: Builder, value: Value, kernel: Kernel, args: Record, x: Panel, y: Panel, tiles_of_vector: int
) -> None:
    """A step that makes another form of a value, vector by vector of lanes."""
    builder.emit(
        Layer(value.node.name, "layout", kernel.name, 0),
        kernel,
        args,
        tiles=x.lanes.vectors * tiles_of_vector,
        reads=x.buffers,
        writes=y.buffers,
        tile_ns=1.7 * x.k / tiles_of_vector,
        span=Span(x.lanes, per_vector=tiles_of_vector),
    )


def split_form(builder: Builder, value: Value, form: str) -> Panel:
    """The value in a form of bfloat16, made by a step of its own."""
    x = builder.panel(value)
    y = new_planes(x, form)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "k": x.k,
        "row_bytes": x.lanes.row_bytes,
    }
    _emit_form(builder, value, FORMS[form], Record(PLANES, fields), x, y, 1)
    return y


def lane_rows(builder: Builder, value: Value) -> Panel:
    """The float32 value [..., k] as a row of bfloat16 for each lane, a multiple of 32 of them; panels are vectors."""
    x = builder.plane_panel(value, "planes1")
    size, pairs = vector_bytes(x.k, 1), -(-x.k // 2)
    tiles = -(-pairs // TILE_QUADS)
    y = Panel(Location(Buffer(size * x.lanes.vectors)), x.lanes, x.k, size)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": size,
        "y": y.location,
        "y_panel": size,
        "quads": pairs,
        "tiles_of_panel": tiles,
        "row_bytes": 4 * VECTOR_LANES,
    }
    _emit_form(builder, value, quads_to_lane_rows, Record(BYTES, fields), x, y, tiles)
    return y
