"""Windows of 3 x 3 at stride 1 by fewer products, where that is faster: see kernels/convolution/winograd.py."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.convolution import winograd, winograd_results, winograd_tiles
from engine.kernels.convolution.planes import Window
from engine.kernels.convolution.windows import WINDOWS
from engine.kernels.dense_bf16.rows import ROW as DENSE_BF16
from engine.kernels.dense_f32.rows import ROW as DENSE_F32
from engine.kernels.layout import Lanes
from engine.kernels.products.activators import activator_of
from engine.kernels.products.epilogue import EPILOGUE
from engine.kernels.row import Array, PackedWeights, ProductRow, ProductShape
from engine.lowering.builder import F32, Builder
from engine.lowering.choose import WINOGRAD, WINOGRAD_BF16, Choice, predicted_time
from engine.lowering.ops._images import TOGETHER, Seen, emit_planes, window_of
from engine.lowering.ops._products import (
    Product,
    keep,
    optional,
    product_epilogue,
    product_layer,
    required,
    result_panel,
    weight_matrix,
)
from engine.plan.steps import Buffer, Field, Fixed, Layer, Location, Record

# Sums over fewer channels, or of fewer nonzero weights, do not keep the float32 grade (docs/precision.md).
LEAST_CHANNELS, LEAST_WEIGHTS = 32, 64
# Nanoseconds of one core for sixteen tiles of a channel, and of a row of results; products of tiles against those of
# one panel: measured on Zen 4.
CHANNEL_NS, RESULT_NS, PRODUCTS_SHARE = 16.0, 30.0, 1.15
# Channels of a tile of the step that makes tiles.
GROUP = 16


@dataclass(frozen=True, slots=True)
class Tiled:
    """A product that is better made of tiles.

    family   one of _FORMS
    seen     what lies before the products: windows of 4 x 4 at stride 2
    result   pixels of an image's result, (down, across)
    choice   beside the choice it replaces
    """

    family: str
    seen: Seen
    result: tuple[int, int]
    choice: Choice


# The row whose packing and whose time these products have, by family.
_FORMS = {WINOGRAD: DENSE_F32, WINOGRAD_BF16: DENSE_BF16}


def tiled(node: Node, builder: Builder, shape: ProductShape, choice: Choice) -> Tiled | None:
    """How this `linear` is made of tiles; None where it cannot be, or is faster by the row that was chosen.

    Where its family is forced it need not be faster, and where the row was, it is not asked.
    """
    value = required(node, 0)
    if choice.reason == "forced" or node.attrs.get("store") is not None or not _fits(value, builder):
        return None
    if shape.nonzeros < LEAST_WEIGHTS * shape.m:
        return None
    source, images = value.node, value.shape[0]
    window, channels = window_of(source), source.attrs["channels"]
    down, across = (-(-size // winograd_results.SIDE) for size in window.result)
    tiles = Window(window.image, (down, across), (4, 4), (2, 2), (1, 1), window.begin)
    lanes = Lanes(images, down * across, winograd.WIDTH)
    offered = {
        family: _cost_ns(row, shape.m, channels, lanes, builder)
        for family, row in _FORMS.items()
        if not row.emulated and row.precision in ("f32", builder.machine.precision)
    }
    is_forced = builder.forced_family in offered
    family = builder.forced_family if is_forced else min(offered, key=lambda name: offered[name])
    if family is None or (offered[family] >= choice.cost_ns and not is_forced):
        return None
    rivals = ((choice.row.family, choice.cost_ns), *choice.runners_up)
    reason = "forced" if is_forced else "cheapest"
    form = _FORMS[family].reads
    seen = Seen(source, tiles, -(-channels // TOGETHER[form]), images, lanes, form)
    choice = replace(choice, cost_ns=offered[family], runners_up=rivals, reason=reason)
    return Tiled(family, seen, window.result, choice)


def _fits(value: Value, builder: Builder) -> bool:
    """Whether these are windows that nobody has laid out yet, and such as tiles can stand for."""
    if value not in builder.later or value.op != "windows" or value.dtype != F32:
        return False
    window, channels = window_of(value.node), value.node.attrs["channels"]
    is_three = (window.kernel, window.stride, window.dilation) == ((3, 3), (1, 1), (1, 1))
    return is_three and channels >= LEAST_CHANNELS and optional(value.node, 1) is None


def _cost_ns(row: ProductRow, m: int, channels: int, lanes: Lanes, builder: Builder) -> float:
    """The dense row's time for all positions, which are many short sums, and both moves."""
    k = winograd_results.POSITIONS * channels
    products = predicted_time(row, ProductShape(m, k, m * k, lanes), builder.rates)
    return PRODUCTS_SHARE * products + lanes.vectors * (channels * CHANNEL_NS + m * RESULT_NS)


def emit_tiled(
    node: Node, builder: Builder, weights: Array, found: Tiled, epilogue: dict[str, Field]
) -> None:
    """Append its steps: planes, tiles, products."""
    seen, axes, row = found.seen, node.attrs["weight_axes"], _FORMS[found.family]
    channels = seen.node.attrs["channels"]
    packed = builder.weights.lasting(
        weights,
        (found.family, axes),
        PackedWeights,
        lambda a: winograd.pack(weight_matrix(node, a), channels, row.pack),
    )
    tiles, row_bytes, position_bytes = _emit_tiles(builder, seen)
    product = Product(seen, packed, found.choice, epilogue, optional(node, 3))
    y, makes_pairs = result_panel(node, builder, None), seen.form == "pairs" and packed.m % 2 == 0
    fields, reads = product_epilogue(node, builder, product, y)
    args: dict[str, Field | Record | Kernel] = {
        **_shape_fields(found, y.lanes),
        "x": Location(tiles),
        "x_panel": winograd_results.POSITIONS * position_bytes,
        "row_bytes": row_bytes,
        "position_bytes": position_bytes,
        "w": Location(Fixed(packed.entries)),
        "strips": packed.strips,
        "epilogue": Record(EPILOGUE, fields),
        "results": winograd_results.TO_RESULTS["pairs" if makes_pairs else "panel"],
        "activator": activator_of(fields),
    }
    kernel, choice = winograd.MULTIPLY_TILES[seen.form], found.choice
    builder.emit(
        product_layer(node, kernel, packed, choice),
        kernel,
        Record(winograd_results.WINOGRAD, args),
        tiles=packed.strips * seen.lanes.panels,
        reads=(tiles, *reads),
        writes=y.buffers,
        tile_ns=choice.cost_ns / (packed.strips * seen.lanes.panels),
        scratch=winograd_results.product_scratch(row_bytes),
    )
    if makes_pairs:
        builder.makers[node[0]] = len(builder.steps) - 1
    keep(node, builder, y)


def _shape_fields(found: Tiled, after: Lanes) -> dict[str, Field]:
    """How tiles lie, and where their results go."""
    seen, lanes, (down, columns) = found.seen, found.seen.lanes, found.result
    return {
        "k": seen.channels,
        "panels": lanes.panels,
        "width": lanes.width,
        "last_bytes": lanes.last_bytes,
        "few": lanes.few,
        "tiles": lanes.inner,
        "across": seen.window.result[1],
        "tile_pitch": lanes.pitch,
        "images": seen.images,
        "down": down,
        "columns": columns,
        "lane_pitch": after.pitch,
    }


def _emit_tiles(builder: Builder, seen: Seen) -> tuple[Buffer, int, int]:
    """Planes, and tiles of them: where they go, and bytes from row to row and from position to position."""
    node, lanes, channels = seen.node, seen.lanes, seen.channels
    planes = emit_planes(builder, seen)
    row_bytes = lanes.row_bytes + winograd.GAP
    # A line more: positions do not all fall on the same sets of a cache.
    position_bytes = channels * row_bytes + 64
    y_panel = winograd_results.POSITIONS * position_bytes
    y = Buffer(lanes.panels * y_panel + 64)
    group = GROUP // TOGETHER[seen.form]
    groups = -(-channels // group)
    fields: dict[str, Field | Record] = {
        "windows": Record(WINDOWS, seen.fields(planes)),
        "plane_bytes": 4 * seen.window.plane,
        "groups": groups,
        "group": group,
        "row_bytes": row_bytes,
        "position_bytes": position_bytes,
        "y": Location(y),
        "y_panel": y_panel,
    }
    builder.emit(
        Layer(node.name, "layout", winograd_tiles.TO_TILES[seen.form].name, 0),
        winograd_tiles.TO_TILES[seen.form],
        Record(winograd_tiles.TILES, fields),
        tiles=lanes.panels * groups,
        reads=(planes,),
        writes=(y,),
        tile_ns=CHANNEL_NS * GROUP * lanes.width / 16,
        scratch=winograd_tiles.SCRATCH,
    )
    return y, row_bytes, position_bytes
