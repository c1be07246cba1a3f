"""Planes of bfloat16 that the step before stores itself, beside its f32 panel or instead of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.graph.ir import Value
from engine.kernels.bf16_planes.rows import TILE_K, vector_bytes
from engine.kernels.layout import VECTOR_LANES
from engine.lowering.panels import Panel
from engine.plan.steps import Buffer, Field, Location, Record, Step, Tensor

if TYPE_CHECKING:
    from engine.lowering.builder import Builder


def new_planes(panel: Panel, planes: int) -> Panel:
    """A fresh place for a panel's numbers as planes of bfloat16."""
    panel_bytes = vector_bytes(panel.k, planes) * (panel.lanes.width // VECTOR_LANES)
    place = Location(Buffer(panel_bytes * panel.lanes.panels))
    return Panel(place, panel.lanes, panel.k, panel_bytes)


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
        if (value, 1) in builder.planes and isinstance(step, Step) and not read & set(map(id, panel.buffers)):
            kept = tuple(buffer for buffer in step.writes if buffer not in panel.buffers)
            builder.steps[index] = replace(step, args=_stores(step.args, {"y": 0}), writes=kept)


def stored_plane(builder: Builder, value: Value) -> Panel | None:
    """A plane that the step that makes the value stores, if it can."""
    step = builder.steps[builder.makers[value]] if value in builder.makers else None
    if not isinstance(step, Step) or value.shape[-1] % TILE_K:
        return None
    y = new_planes(builder.panels[value], 1)
    fields: dict[str, Field] = {"planes": y.location, "planes_vector": vector_bytes(y.k, 1)}
    args, writes = _stores(step.args, fields), (*step.writes, *y.buffers)
    builder.steps[builder.makers[value]] = replace(step, args=args, writes=writes)
    return y
