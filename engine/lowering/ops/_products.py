"""What both linear operators share: packing, the epilogue's record, tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.graph.ir import Node, Value
from engine.kernels.cost import even_block, panels_of_block
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.products.epilogue import ACTIVATIONS, EPILOGUE, STORE_CENTRED, STORE_F32, STORE_QUANTIZED
from engine.kernels.row import Array, PackedWeights, ProductShape
from engine.lowering.builder import Builder
from engine.lowering.choose import Choice, choose
from engine.lowering.panels import Panel
from engine.plan.steps import Buffer, Field, Fixed, Layer, Location, Record, Span

# Rows that a vector of constants must have beyond m: strips are at most so many rows long.
STRIP_MARGIN = 96


def optional(node: Node, index: int) -> Value | None:
    """An input that may be absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def required(node: Node, index: int) -> Value:
    """An input that is always there."""
    value = node.inputs[index]
    if value is None:
        message = f"{node!r} lacks input {index}"
        raise TypeError(message)
    return value


def store_fields(store: tuple[str, float, int] | None) -> dict[str, Field]:
    """The epilogue's fields for attribute `store`."""
    if store is None:
        return {"store": STORE_F32}
    kind, step, zero_point = store
    return {
        "store": STORE_QUANTIZED if kind == "quantized" else STORE_CENTRED,
        "step": float(step),
        "zero_point": int(zero_point),
    }


def activation_fields(activation: str | tuple[Any, ...]) -> dict[str, Field]:
    """The epilogue's fields for attribute `activation`."""
    name, *numbers = (activation,) if isinstance(activation, str) else activation
    places = zip(("first_number", "second_number"), numbers, strict=False)
    return {"activation": ACTIVATIONS[name], **{place: float(number) for place, number in places}}


def result_panel(node: Node, builder: Builder, store: tuple[str, float, int] | None) -> Panel:
    """A fresh place for output 0: quads where it is stored quantised."""
    return builder.new_panel(node[0].shape, quads=store is not None and store[0] == "quantized")


def keep(node: Node, builder: Builder, panel: Panel) -> None:
    """Remember where output 0 lies."""
    (builder.quads if panel.quads else builder.panels)[node[0]] = panel


def weight_matrix(node: Node, array: Array) -> Array:
    """The weights as [m, k], whatever axes the file has."""
    return array if node.attrs["weight_axes"] == "mk" else array.T


def integer_start(zero_point: int, row_sums: Array, bias: Array | None) -> Array:
    """First sums of every row: the integer bias, less the zero point's share. Wraps as int32 sums do."""
    start = -zero_point * row_sums
    if bias is not None:
        start = start + bias.reshape(-1)
    padded = np.zeros(row_sums.size + STRIP_MARGIN, np.int64)
    padded[: row_sums.size] = start
    return padded.astype(np.int32)


@dataclass(frozen=True, slots=True)
class Product:
    """A product step about to be appended.

    epilogue   fields of its own: bias, scale
    start      first sums of every row, for integer products
    """

    x: Panel
    packed: PackedWeights
    choice: Choice
    epilogue: dict[str, Field]
    residual: Value | None
    start: Location | None = None


def emit_product(node: Node, builder: Builder, product: Product) -> None:
    """Append the product step of `linear` or `quantized_linear`."""
    x, packed, choice = product.x, product.packed, product.choice
    store = node.attrs.get("store")
    y = result_panel(node, builder, store)
    fields, reads = _epilogue(node, builder, product, y)
    lanes = x.lanes
    args: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "k": choice.row.k_steps(packed.k),
        "row_bytes": lanes.row_bytes,
        "w": Location(Fixed(packed.entries)),
        "w_index": Location(Fixed(packed.index)),
        "start": product.start if product.start is not None else 0,
        "strips": packed.strips,
        "panels": lanes.panels,
        "lanes": lanes.inner,
        "panel_block": even_block(
            lanes.panels, builder.machine.parts, panels_of_block(x.panel_bytes, builder.machine.l2_bytes)
        ),
        "epilogue": Record(EPILOGUE, fields),
    }
    kernel = choice.row.kernels[lanes.width]
    tiles = packed.strips * lanes.panels
    decided = builder.deciding_lanes(required(node, 0).shape, choice.row.operand)
    builder.emit(
        Layer(
            node.name,
            node.op,
            kernel.name,
            1,
            packed.sparsity,
            choice.reason,
            choice.runners_up,
            choice.cost_ns,
        ),
        kernel,
        Record(PRODUCT, args),
        tiles=tiles,
        reads=reads,
        writes=y.buffers,
        tile_ns=choice.cost_ns / (packed.strips * decided.panels),
        scratch=choice.row.scratch(lanes.width),
        together=min(choice.row.run, lanes.panels),
        span=Span(lanes, per_panel=packed.strips) if choice.row.most_lanes is None else None,
    )
    keep(node, builder, y)


def _epilogue(
    node: Node, builder: Builder, product: Product, y: Panel
) -> tuple[dict[str, Field], list[Buffer]]:
    """The epilogue's fields, and the buffers the step reads."""
    reads: list[Buffer] = list(product.x.buffers)
    # Parameters that are found at run time lie in the arena.
    places = [field for field in (product.start, *product.epilogue.values()) if isinstance(field, Location)]
    reads += [field.place for field in places if isinstance(field.place, Buffer)]
    fields: dict[str, Field] = {
        **product.epilogue,
        **store_fields(node.attrs.get("store")),
        "m": product.packed.m,
        **activation_fields(node.attrs["activation"]),
        "y": y.location,
        "y_panel": y.panel_bytes,
        "row_bytes": y.lanes.row_bytes,
    }
    if product.residual is not None:
        addend = builder.panel(product.residual)
        reads += addend.buffers
        fields |= {"residual": addend.location, "residual_panel": addend.panel_bytes}
    return fields, reads


def product_choice(builder: Builder, operand: str, shape: ProductShape) -> Choice:
    """The row for this product."""
    return choose(operand, shape, builder.forced_family, builder.rates, builder.machine.precision)
