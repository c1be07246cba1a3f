"""Rows of bytes stored by the step that makes the numbers, where nobody reads them as quads.

    product ── quads ── quads_to_bytes ── bytes ── sparse product        =>        product ── bytes ── sparse product

Whether quads have other readers is known when all steps are there: so this looks at the steps, not at the graph.
What a step must be like to store rows itself is a rule by the kind of its record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from engine.jit import Kernel
from engine.kernels.attention.quantized import BYTES_KERNELS
from engine.kernels.attention.rows import ATTENTION
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.movement.bytes import TO_BYTES
from engine.kernels.norm.rows import NORM
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.products.requantise_bytes import FINISHERS_TO_BYTES
from engine.lowering.choose import PRODUCT_ROWS
from engine.plan.steps import Buffer, Field, HostStep, Record, Step, Tensor

Fields = Mapping[str, Field | Record | Kernel]
# Of a step whose quads are rearranged, and of the step that does so: the first one's args, storing what the second would.
Rule = Callable[[Step, Fields], Record | None]

_CONVERSIONS = frozenset(TO_BYTES.values())
# Kernels whose finishers get all lanes of a panel at once.
_WHOLE_PANELS = frozenset(
    kernel for row in PRODUCT_ROWS if row.whole_panels for kernel in row.kernels.values()
)


def _by_finisher(step: Step, conversion: Fields) -> Record | None:
    """A product's epilogue has a finisher for rows of bytes, or has none."""
    epilogue = step.args.fields["epilogue"]
    if step.kernel not in _WHOLE_PANELS or not isinstance(epilogue, Record):
        return None
    fields = epilogue.fields
    finisher, row_bytes = fields["finisher"], fields["row_bytes"]
    if (
        not isinstance(finisher, Kernel)
        or not isinstance(row_bytes, int)
        or not _stores(fields, "y", conversion)
    ):
        return None
    rows = FINISHERS_TO_BYTES.get((finisher, row_bytes // 4))
    if rows is None:
        return None
    stored = {**fields, "finisher": rows, "y": conversion["y"], "y_panel": conversion["y_panel"]}
    return Record(step.args.dtype, {**step.args.fields, "epilogue": Record(epilogue.dtype, stored)})


def _by_heads(step: Step, conversion: Fields) -> Record | None:
    """Attention of bytes whose tiles are as wide as a panel, with a context that is requantised in whole quads."""
    fields = step.args.fields
    epilogue = fields["epilogue"]
    if step.kernel not in BYTES_KERNELS or not isinstance(epilogue, Record):
        return None
    is_whole = fields["vectors"] == int(epilogue.fields["row_bytes"]) // 64  # type: ignore[arg-type]
    if not is_whole or "inverse" not in epilogue.fields or not _stores(epilogue.fields, "y", conversion):
        return None
    stored = {name: field for name, field in epilogue.fields.items() if name not in ("y", "y_panel")}
    bytes_fields = {"bytes": conversion["y"], "bytes_panel": conversion["y_panel"]}
    return Record(step.args.dtype, {**fields, **bytes_fields, "epilogue": Record(epilogue.dtype, stored)})


def _stores(fields: Fields, name: str, conversion: Fields) -> bool:
    """Whether a record's place is the whole of what the conversion reads."""
    return fields.get(name) == conversion["x"] and fields.get(f"{name}_panel") == conversion["x_panel"]


def _by_norm(step: Step, conversion: Fields) -> Record | None:
    """A layer norm whose tiles are panels, and that divides the shorter way."""
    fields = step.args.fields
    is_panel = fields["row_bytes"] == 4 * VECTOR_LANES * fields["vectors"]  # type: ignore[operator]
    if not is_panel or not fields.get("inverse", 0) or not _stores(fields, "quads", conversion):
        return None
    rows = {"quads": 0, "bytes": conversion["y"], "bytes_panel": conversion["y_panel"]}
    return Record(step.args.dtype, {**fields, **rows})


# By the record of a step's args.
_RULES: Mapping[object, Rule] = {PRODUCT: _by_finisher, ATTENTION: _by_heads, NORM: _by_norm}


def store_bytes(steps: Sequence[Step | HostStep], outputs: Iterable[Tensor]) -> tuple[Step | HostStep, ...]:
    """The steps, without those that rearrange what nobody else reads, if the step before can."""
    read = Counter(id(buffer) for step in steps for buffer in _read_by(step))
    read.update(id(tensor.location.place) for tensor in outputs if tensor.location is not None)
    makers: dict[int, list[int]] = {}
    for index, step in enumerate(steps):
        for buffer in step.writes if isinstance(step, Step) else _places(step.outputs):
            makers.setdefault(id(buffer), []).append(index)
    kept: list[Step | HostStep | None] = list(steps)
    for index, step in enumerate(steps):
        if not isinstance(step, Step) or step.kernel not in _CONVERSIONS:
            continue
        quads = [id(buffer) for buffer in step.reads]
        if len(quads) == 1 and read[quads[0]] == 1 and len(makers.get(quads[0], ())) == 1:
            maker = makers[quads[0]][0]
            stored = _storing(kept[maker], step)
            if stored is not None:
                kept[maker], kept[index] = stored, None
    return tuple(step for step in kept if step is not None)


def _storing(maker: Step | HostStep | None, conversion: Step) -> Step | None:
    """The maker of quads as it stores rows of bytes, if it can."""
    rule = _RULES.get(maker.args.dtype) if isinstance(maker, Step) else None
    if not isinstance(maker, Step) or rule is None:
        return None
    args = rule(maker, conversion.args.fields)
    if args is None:
        return None
    writes = [buffer for buffer in maker.writes if buffer not in conversion.reads]
    return replace(maker, args=args, writes=(*writes, *conversion.writes))


def _read_by(step: Step | HostStep) -> Sequence[Buffer]:
    return step.reads if isinstance(step, Step) else _places(step.inputs)


def _places(tensors: Sequence[Tensor | None]) -> list[Buffer]:
    places = [
        tensor.location.place for tensor in tensors if tensor is not None and tensor.location is not None
    ]
    return [place for place in places if isinstance(place, Buffer)]
