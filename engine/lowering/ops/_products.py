"""What both linear operators share: packing, the epilogue's record, tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.convolution.fused import FUSED, convolve, scratch_bytes
from engine.kernels.convolution.windows import WINDOWS
from engine.kernels.cost import even_block, panels_of_block
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.products.epilogue import (
    EPILOGUE,
    STORE_CENTRED,
    STORE_F32,
    STORE_QUANTIZED,
    STORE_ROUNDED,
)
from engine.kernels.products.finishers import FINISHERS, Table, finisher_of
from engine.kernels.row import Array, PackedWeights, ProductRow, ProductShape
from engine.lowering.builder import Builder, OpenProduct
from engine.lowering.choose import Choice, choose
from engine.lowering.ops._banded import Called, bands_for, emit_in_bands
from engine.lowering.ops._grouped import Groups, emit_groups
from engine.lowering.ops._images import TOGETHER, Seen, emit_planes, emit_windows, window_of
from engine.lowering.ops._requantise import curve_fields, requantise_fields
from engine.lowering.panels import STRIP_MARGIN, Panel
from engine.lowering.stored_planes import new_pairs
from engine.plan.steps import Buffer, Field, Fixed, Layer, Location, Record, Span

# A product over windows: tiles for each member, strips of a tile at least, as its windows are laid out for each, and
# panels for each member below which windows are laid out by a step of their own.
PARTS_EACH, LEAST_STRIPS, PANELS_EACH = 4, 4, 2


_STORES = {"quantized": STORE_QUANTIZED, "centred": STORE_CENTRED, "rounded": STORE_ROUNDED}


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
        "store": _STORES[kind],
        "step": float(step),
        "zero_point": int(zero_point),
    }


def activation_fields(activation: str | tuple[Any, ...]) -> dict[str, Field]:
    """The epilogue's fields for attribute `activation`."""
    name, *numbers = (activation,) if isinstance(activation, str) else activation
    places = zip(("first_number", "second_number"), numbers, strict=False)
    return {"activation": ACTIVATIONS[name], **{place: float(number) for place, number in places}}


def epilogue_record(
    fields: dict[str, Field],
    finishers: Table = FINISHERS,
    constants: tuple[Array, Array | None] | None = None,
) -> Record:
    """The epilogue's record, with the kernel that runs it.

    constants   scale and float32 bias of integer sums, where both are known before run time
    """
    curve = None if constants is None else curve_fields(fields, *constants)
    if curve is not None:
        fields, constants = curve
    if constants is not None and finishers is FINISHERS:
        shorter = requantise_fields(fields, *constants)
        if shorter is not None:
            return Record(EPILOGUE, {**fields, **shorter})
    return Record(EPILOGUE, {**fields, "finisher": finisher_of(finishers, fields)})


def result_panel(node: Node, builder: Builder, store: tuple[str, float, int] | None) -> Panel:
    """A place for output 0: quads where it is stored quantised."""
    return builder.result(node[0], quads=store is not None and store[0] == "quantized")


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
    constants  scale and float32 bias of integer sums, where both are known before run time
    groups     where it is made of a product for each
    """

    x: Panel | Seen
    packed: PackedWeights
    choice: Choice
    epilogue: dict[str, Field]
    residual: Value | None
    start: Location | None = None
    constants: tuple[Array, Array | None] | None = None
    groups: Groups | None = None


def single_quantisation(node: Node) -> tuple[float, int] | None:
    """(scale, zero point) of a DequantizeLinear that has one of each, constant; else None."""
    arrays = [None if value is None else value.array for value in (node.inputs[1], optional(node, 2))]
    scale, zero = arrays[0], np.zeros(1, np.uint8) if optional(node, 2) is None else arrays[1]
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or node.attrs.get("block_size"):
        return None
    return (float(scale.reshape(())), int(zero.reshape(()))) if scale.dtype == np.float32 else None


def residual_fields(builder: Builder, residual: Value) -> tuple[dict[str, Field], tuple[Buffer, ...]]:
    """The epilogue's fields for what is added, and the buffers that are read; bytes are dequantised on the way."""
    if residual in builder.later and residual.op == "DequantizeLinear":
        found = single_quantisation(residual.node)
        if found is not None:
            quads = builder.quad_panel(required(residual.node, 0))
            own: dict[str, Field] = {"residual_step": found[0], "residual_zero": found[1]}
            return {**own, "residual": quads.location, "residual_panel": quads.panel_bytes}, quads.buffers
    panel = builder.panel(residual)
    return {"residual": panel.location, "residual_panel": panel.panel_bytes}, panel.buffers


def operand(builder: Builder, value: Value, row: ProductRow) -> Panel | Seen:
    """The activations in the form that a row reads; windows may stay as they are, for the product's own step to lay out."""
    if value in builder.later and value.op == "windows" and row.reads in TOGETHER:
        seen = Seen.of(value.node, builder.lanes(value.shape), row.reads)
        if seen.lanes.panels >= PANELS_EACH * builder.machine.members:
            return seen
        if row.reads == "pairs":
            return _window_pairs(builder, value, seen)
    return builder.form(value, row.reads)


def _window_pairs(builder: Builder, value: Value, seen: Seen) -> Panel:
    """Windows as pairs, which only products read that know how many features each tap has then."""
    known = (value, "windows")
    if known not in builder.planes:
        builder.planes[known] = new_pairs(seen.lanes, seen.k)
        emit_windows(builder, seen, builder.planes[known])
    return builder.planes[known]


def tap_features(value: Value, x: Panel | Seen, w: Array) -> Array:
    """The matrix [m, k] with as many features of each tap as x has: pairs of an odd number have one more, of zeros."""
    m, k = w.shape
    if x.k == k:
        return w
    taps = window_of(value.node).taps
    wider = np.zeros((m, taps, x.k // taps), w.dtype)
    wider[:, :, : k // taps] = w.reshape(m, taps, -1)
    return wider.reshape(m, -1)


def _panel_block(builder: Builder, product: Product) -> int:
    """Panels that are taken before the next strip of weights.

    Where all weights of a product of bytes stay in L2, one: a panel is read from L1 then, and results and residuals of
    one panel lie together. By strips, each tile meets other pages, and waits for what other caches have of them.
    """
    lanes, row, l2 = product.x.lanes, product.choice.row, builder.machine.l2_bytes
    if row.operand == "u8" and row.run == 1 and product.packed.entries.nbytes <= l2 // 2:
        return 1
    return even_block(lanes.panels, builder.machine.parts, panels_of_block(product.x.panel_bytes, l2))


def product_layer(node: Node, kernel: Kernel, packed: PackedWeights, choice: Choice) -> Layer:
    """What is said of a product's step."""
    return Layer(
        node.name, node.op, kernel.name, 1, packed.sparsity, choice.reason, choice.runners_up, choice.cost_ns
    )


def _product_fields(
    builder: Builder, product: Product, fields: dict[str, Field]
) -> dict[str, Field | Record | Kernel]:
    """The record of a product, but for x; `fields` are its epilogue's."""
    lanes, packed, row = product.x.lanes, product.packed, product.choice.row
    return {
        "k": row.k_steps(packed.k),
        "row_bytes": lanes.row_bytes,
        "last_bytes": lanes.last_bytes,
        "few": lanes.few,
        "w": Location(Fixed(packed.entries)),
        "w_index": Location(Fixed(packed.index)),
        "start": product.start if product.start is not None else 0,
        "strips": packed.strips,
        "panels": lanes.panels,
        "lanes": lanes.inner,
        "panel_block": _panel_block(builder, product),
        "epilogue": epilogue_record(fields, row.finishers, product.constants),
    }


def emit_product(node: Node, builder: Builder, product: Product) -> None:
    """Append the product step of `linear` or `quantized_linear`."""
    x, packed, choice = product.x, product.packed, product.choice
    y, lanes = result_panel(node, builder, node.attrs.get("store")), x.lanes
    fields, reads = product_epilogue(node, builder, product, y)
    args = _product_fields(builder, product, fields)
    kernel = choice.row.kernels[lanes.width]
    reason = choice.reason if product.groups is None else f"{choice.reason}, {product.groups.count} groups"
    layer = product_layer(node, kernel, packed, replace(choice, reason=reason))
    if product.groups is not None:
        called = Called(args, kernel, choice.row.scratch(lanes.width), reads, y.buffers)
        emit_groups(builder, layer, product.groups, x, y, called)
    elif isinstance(x, Seen):
        _emit_over_windows(builder, layer, product, x, args, reads, y)
    elif _is_private(node, builder, product):
        epilogue = Record(EPILOGUE, {**args["epilogue"].fields, "y": 0})  # type: ignore[union-attr]
        closed = {
            **args,
            "epilogue": epilogue,
            "x": x.location,
            "x_panel": x.panel_bytes,
            "panel_block": lanes.panels,
        }
        builder.open_products[node[0]] = _open_product(product, lanes.width, layer, closed, reads)

        def emit() -> None:
            _emit_on_panels(node, builder, product, layer, args, reads, y)
            _keep_made(node, builder, y)

        builder.later[node[0]] = emit
        return
    else:
        _emit_on_panels(node, builder, product, layer, args, reads, y)
    if product.groups is None:
        _keep_made(node, builder, y)
    else:
        # Groups know of one place for their results only.
        keep(node, builder, y)


def _keep_made(node: Node, builder: Builder, y: Panel) -> None:
    """Remember where output 0 lies, and which step made it."""
    if node.attrs.get("store") is None:
        builder.makers[node[0]] = len(builder.steps) - 1
    keep(node, builder, y)


def _is_private(node: Node, builder: Builder, product: Product) -> bool:
    """Whether results are read by one depthwise convolution only, and a strip of them can be made when it wants them."""
    is_plain = product.residual is None and node.attrs.get("store") is None
    return node[0] in builder.private and is_plain and product.choice.row.family == "dense_f32"


def _open_product(
    product: Product, width: int, layer: Layer, args: dict[str, Field | Record | Kernel], reads: list[Buffer]
) -> OpenProduct:
    row, packed = product.choice.row, product.packed
    strip_bytes = packed.entries.nbytes // packed.strips
    return OpenProduct(
        args, row.kernels[width], row.scratch(width), tuple(reads), packed.m, strip_bytes, layer
    )


def _emit_on_panels(
    node: Node,
    builder: Builder,
    product: Product,
    layer: Layer,
    args: dict[str, Field | Record | Kernel],
    reads: list[Buffer],
    y: Panel,
) -> None:
    """The product's step where what it multiplies lies as panels."""
    x, packed, row = product.x, product.packed, product.choice.row
    if not isinstance(x, Panel):
        message = f"{node!r} reads windows"
        raise TypeError(message)
    lanes, decided = x.lanes, builder.deciding_lanes(required(node, 0).shape, row.operand)
    builder.emit(
        layer,
        row.kernels[lanes.width],
        Record(PRODUCT, {**args, "x": x.location, "x_panel": x.panel_bytes}),
        tiles=packed.strips * lanes.panels,
        reads=reads,
        writes=y.buffers,
        tile_ns=product.choice.cost_ns / (packed.strips * decided.panels),
        scratch=row.scratch(lanes.width),
        together=min(row.run, lanes.panels),
        span=Span(lanes, per_panel=packed.strips) if row.most_lanes is None else None,
    )


def _emit_over_windows(
    builder: Builder,
    layer: Layer,
    product: Product,
    seen: Seen,
    args: dict[str, Field | Record | Kernel],
    reads: list[Buffer],
    y: Panel,
) -> None:
    """The product's step where it lays out its windows itself."""
    strips, panels = product.packed.strips, seen.lanes.panels
    row, width, bands = product.choice.row, seen.lanes.width, bands_for(builder, seen)
    if bands is not None:
        called = Called(args, row.kernels[width], row.scratch(width), reads, y.buffers)
        emit_in_bands(builder, layer, seen, bands, called)
        return
    planes = emit_planes(builder, seen)
    parts = min(-(-PARTS_EACH * builder.machine.members // panels), max(1, strips // LEAST_STRIPS))
    part_strips = -(-strips // parts)
    parts = -(-strips // part_strips)
    scratch = row.scratch(width)
    fields: dict[str, Field | Record | Kernel] = {
        "windows": Record(WINDOWS, seen.fields(planes)),
        "product": Record(PRODUCT, {**args, "panel_block": 1}),
        "kernel": row.kernels[width],
        "strips": strips,
        "parts": parts,
        "part_strips": part_strips,
        "panel_bytes": seen.panel_bytes,
    }
    builder.emit(
        layer,
        convolve,
        Record(FUSED, fields),
        tiles=parts * panels,
        reads=(planes, *reads),
        writes=y.buffers,
        tile_ns=product.choice.cost_ns / (parts * panels),
        scratch=scratch_bytes(seen.panel_bytes, scratch),
    )


def product_epilogue(
    node: Node, builder: Builder, product: Product, y: Panel
) -> tuple[dict[str, Field], list[Buffer]]:
    """The epilogue's fields, and the buffers the step reads."""
    reads: list[Buffer] = [] if isinstance(product.x, Seen) else list(product.x.buffers)
    # Parameters that are found at run time lie in the arena.
    places = [field for field in (product.start, *product.epilogue.values()) if isinstance(field, Location)]
    reads += [field.place for field in places if isinstance(field.place, Buffer)]
    fields: dict[str, Field] = {
        **product.epilogue,
        **store_fields(node.attrs.get("store")),
        "m": product.packed.m if product.groups is None else product.groups.rows,
        **activation_fields(node.attrs["activation"]),
        "y": y.location,
        "y_panel": y.panel_bytes,
        "row_bytes": y.lanes.row_bytes,
    }
    if product.residual is not None:
        addend, read = residual_fields(builder, product.residual)
        reads += read
        fields |= addend
    return fields, reads


def product_choice(builder: Builder, operand: str, shape: ProductShape) -> Choice:
    """The row for this product."""
    return choose(operand, shape, builder.forced_family, builder.rates, builder.machine.precision)
