"""Forms of bfloat16: stored by the step before, beside its f32 panel or instead of it, or made by a step of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.graph.ir import Value
from engine.jit import Kernel
from engine.kernels.bf16_planes.rows import FORMS, PLANES, ROW_BYTES, TILE_K, vector_bytes
from engine.kernels.convolution.banded import BANDED
from engine.kernels.convolution.fused import FUSED
from engine.kernels.convolution.lanes import PIXELS
from engine.kernels.convolution.pairs import to_pairs
from engine.kernels.convolution.winograd_results import WINOGRAD
from engine.kernels.layout import VECTOR_LANES, Lanes, pair_rows
from engine.kernels.movement.bytes import BYTES, TILE_QUADS, quads_to_lane_rows
from engine.kernels.products.arguments import PRODUCT
from engine.lowering.panels import VECTORS_BEHIND, Panel
from engine.plan.steps import Buffer, Field, Layer, Location, Record, Span, Step, Tensor

if TYPE_CHECKING:
    from engine.lowering.builder import Builder

VECTOR_BYTES = 4 * VECTOR_LANES
# Forms that steps can store themselves: products all, layer norms and attention no rows.
STORED = ("pairs", "planes1", "rows")


def new_planes(panel: Panel, form: str) -> Panel:
    """A fresh place for a panel's numbers in a form of bfloat16: "pairs", or one of `bf16_planes.rows.FORMS`.

    The bytes of its panels are those of what its kernels count by: of rows, two vectors of lanes.
    """
    if form == "pairs":
        return new_pairs(panel.lanes, panel.k)
    vectors = panel.lanes.width // VECTOR_LANES
    if form == "rows":
        count, size = -(-vectors * panel.lanes.panels // 2), panel.k * ROW_BYTES
    else:
        count, size = panel.lanes.panels, vectors * vector_bytes(panel.k, int(form.removeprefix("planes")))
    return Panel(Location(Buffer(size * count)), panel.lanes, panel.k, size)


def new_pairs(lanes: Lanes, k: int) -> Panel:
    """A fresh place for pairs of k features of these lanes."""
    size = pair_rows(k) * lanes.row_bytes
    return Panel(Location(Buffer(size * lanes.panels + VECTORS_BEHIND)), lanes, k, size)


def _last(args: Record) -> Record:
    """The record that says where a step stores: its epilogue's, where it has one, that of the product within it."""
    for name in ("product", "epilogue"):
        inner = args.fields.get(name)
        if isinstance(inner, Record):
            return _last(inner)
    return args


def _stores(args: Record, fields: Mapping[str, Field]) -> Record:
    """A step's args with other places to store to."""
    for name in ("product", "epilogue"):
        inner = args.fields.get(name)
        if isinstance(inner, Record):
            return Record(args.dtype, {**args.fields, name: _stores(inner, fields)})
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
    if form not in STORED or "planes" in _last(step.args).fields:
        return False
    if form == "rows":
        return step.args.dtype in (PRODUCT, FUSED, BANDED)
    if step.args.dtype == WINOGRAD and form != "pairs":
        return False
    return k % (2 if form == "pairs" else TILE_K) == 0


def stored_form(builder: Builder, value: Value, form: str) -> Panel | None:
    """The value in a form of bfloat16 that the step that makes it stores, if it can."""
    step = builder.steps[builder.makers[value]] if value in builder.makers else None
    if not isinstance(step, Step) or not _can_store(step, form, value.shape[-1]):
        return None
    y = new_planes(builder.panels[value], form)
    args = _stores(step.args, {"planes": y.location, **_strides(y, form)})
    builder.steps[builder.makers[value]] = replace(step, args=args, writes=(*step.writes, *y.buffers))
    return y


def _strides(y: Panel, form: str) -> dict[str, Field]:
    """Bytes from panel to panel, vector to vector and pair to pair, as who stores it wants to know."""
    if form == "rows":
        return {"planes_vector": 0}
    vector, row = (
        (VECTOR_BYTES, y.lanes.row_bytes) if form == "pairs" else (vector_bytes(y.k, 1), VECTOR_BYTES)
    )
    return {"planes_panel": y.panel_bytes, "planes_vector": vector, "planes_row": row}


def pairs_of_image(builder: Builder, value: Value) -> Panel:
    """The pixels [b, p, c] of an image as ONNX lays it out, as pairs."""
    images, pixels, channels = value.shape
    tensor = builder.images[value]
    row = pixels * tensor.dtype.itemsize
    place: dict[str, Field | Record] = {
        "x_base": tensor.location or 0,
        "x_row": row,
        "x_panel": row * channels,
        "x_width": pixels,
        "x_pitch": pixels,
    }
    y = new_pairs(builder.lanes(value.shape), channels)
    read = tensor.location.place if tensor.location is not None else None
    reads = (read,) if isinstance(read, Buffer) else ()
    _emit_pairs(builder, value, place, y, (images, y.lanes.pitch // VECTOR_LANES), reads)
    return y


def _pairs_of_panel(builder: Builder, value: Value) -> Panel:
    """The same of a panel, lane by lane, whatever sequences lie there."""
    x = builder.panel(value)
    y = new_pairs(x.lanes, x.k)
    place: dict[str, Field | Record] = {
        "x_base": x.location,
        "x_row": x.lanes.row_bytes,
        "x_panel": x.panel_bytes,
        "x_width": x.lanes.width,
    }
    _emit_pairs(builder, value, place, y, (1, x.lanes.vectors), x.buffers)
    return y


def _emit_pairs(
    builder: Builder,
    value: Value,
    place: dict[str, Field | Record],
    y: Panel,
    vectors: tuple[int, int],
    reads: tuple[Buffer, ...],
) -> None:
    """The step that makes pairs of so many images of so many vectors of pixels."""
    fields: dict[str, Field | Record] = {
        "y_base": y.location,
        "y_row": y.lanes.row_bytes,
        "y_panel": y.panel_bytes,
        "y_width": y.lanes.width,
        "y_pitch": VECTOR_LANES * vectors[1],
        "channels": y.k,
    }
    # Constants lie regularly: nothing about them follows the lanes of a request.
    is_panel = vectors[1] == y.lanes.vectors and bool(reads)
    builder.emit(
        Layer(value.node.name, "layout", to_pairs.name, 0),
        to_pairs,
        Record(PIXELS, {**place, **fields}),
        tiles=vectors[0] * vectors[1],
        reads=reads,
        writes=y.buffers,
        tile_ns=1.7 * y.k,
        span=Span(y.lanes, per_vector=1) if is_panel else None,
    )


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
    if form == "pairs":
        return _pairs_of_panel(builder, value)
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
