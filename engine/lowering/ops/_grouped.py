"""Products whose weights are blocks along the diagonal, as those of grouped convolutions are: a product for each block.

    m = groups x rows, k = taps x channels:     row r sees, of each tap, the channels of its own group only

The blocks are found in the matrix, whatever operator it came from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.convolution.grouped import GROUPED, convolve_groups, scratch_bytes
from engine.kernels.convolution.windows import WINDOWS
from engine.kernels.dense_f32.rows import ROW as DENSE_F32
from engine.kernels.dense_int8.rows import ROW as DENSE_INT8
from engine.kernels.layout import quad_rows
from engine.kernels.products.arguments import PRODUCT
from engine.kernels.products.strips import tile_shape
from engine.kernels.row import Array, PackedWeights, ProductShape, aligned
from engine.lowering.builder import Builder
from engine.lowering.choose import Choice, predicted_time
from engine.lowering.ops._banded import Called
from engine.lowering.ops._images import TOGETHER, Seen, emit_planes
from engine.lowering.panels import QUAD, Panel
from engine.plan.steps import Buffer, Field, Layer, Location, Record

_ROWS = {"f32": DENSE_F32, "u8": DENSE_INT8}
# Nanoseconds to find a group's records, and to call its product; and how much longer products take than predicted where
# each call has a panel of its own that is the only one: measured on Zen 4.
CALL_NS, SINGLE = 40.0, 1.15
# Tiles for each member, at least.
_TILES_EACH = 4


@dataclass(frozen=True, slots=True)
class Blocks:
    """Of a matrix [m, taps * channels]: how many there are along its diagonal."""

    groups: int


@dataclass(frozen=True, slots=True)
class Weights:
    """The array that packed forms are kept under, and what makes its matrix [m, k], less its zero point."""

    array: Array
    matrix: Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Groups:
    """A product of blocks: `rows` results of `channels` channels each, over so many taps."""

    count: int
    rows: int
    channels: int
    taps: int


def _is_blocks(seen: Array, count: int) -> bool:
    m, channels = seen.shape
    if seen[0, channels // count :].any():
        return False
    blocks = seen.reshape(count, m // count, count, channels // count).any(axis=(1, 3))
    return not (blocks & ~np.eye(count, dtype=bool)).any()


def blocks_of(w: Array, taps: int) -> Blocks:
    """The most blocks that w[m, taps * channels] has along its diagonal: those of a divisor are joined by more factors."""
    m, channels = len(w), w.shape[1] // taps
    count, both = 1, int(np.gcd(m, channels))
    row = (w[0].reshape(taps, channels) != 0).any(axis=0)
    if row[(channels + 1) // 2 :].any():
        return Blocks(1)
    seen = (w.reshape(m, taps, channels) != 0).any(axis=1)
    for factor in range(2, both + 1):
        while both % (count * factor) == 0 and _is_blocks(seen, count * factor):
            count *= factor
    return Blocks(count)


def _pack(w: Array, groups: Groups, operand: str) -> PackedWeights:
    """Each block as the dense row packs it, one after another; strips and k are those of one."""
    row, k = _ROWS[operand], groups.taps * groups.channels
    parts = w.reshape(groups.count, groups.rows, groups.taps, groups.count, groups.channels)
    packed = [row.pack(parts[group, :, :, group].reshape(groups.rows, k)) for group in range(groups.count)]
    entries = aligned((groups.count, *packed[0].entries.shape), packed[0].entries.dtype)
    for place, one in zip(entries, packed, strict=True):
        place[:] = one.entries
    nonzeros, first = sum(one.nonzeros for one in packed), packed[0]
    return PackedWeights(entries, first.index, len(w), k, first.strips, first.strip_rows, nonzeros)


def _source(value: Value, builder: Builder) -> tuple[int, int] | None:
    """Taps and channels of what a product sees; None where channels are more than there are."""
    if value.op != "windows" or value not in builder.later:
        return 1, value.shape[-1]
    attrs, x = value.node.attrs, value.node.inputs[0]
    if x is None or x.shape[-1] != attrs["channels"]:
        return None
    return attrs["window"][2][0] * attrs["window"][2][1], attrs["channels"]


def _cost_ns(groups: Groups, shape: ProductShape, operand: str, builder: Builder) -> float:
    tile = tile_shape(shape.lanes.width).rows
    rows, k = -(-groups.rows // tile) * tile, groups.taps * groups.channels
    one = predicted_time(_ROWS[operand], ProductShape(rows, k, rows * k, shape.lanes), builder.rates)
    return groups.count * (one * (SINGLE if shape.lanes.panels == 1 else 1.0) + CALL_NS * shape.lanes.panels)


@dataclass(frozen=True, slots=True)
class Split:
    """A product that is better made of groups: how, of which operand, with which weights."""

    groups: Groups
    x: Panel | Seen
    packed: PackedWeights
    choice: Choice


def split(
    node: Node, builder: Builder, weights: Weights, shape: ProductShape, choice: Choice
) -> Split | None:
    """How this product is made of groups; None where it has none, or is faster by the row that was chosen."""
    value, operand = node.inputs[0], choice.row.operand
    source = None if value is None else _source(value, builder)
    row = _ROWS.get(operand)
    is_dense = 2 * shape.nonzeros > shape.m * shape.k
    if value is None or source is None or row is None or is_dense or shape.lanes.width not in row.kernels:
        return None
    if choice.reason == "forced" and choice.row is not row:
        return None
    taps, channels = source
    form = ("blocks", node.attrs["weight_axes"], node.attrs.get("weight_zero"), taps)
    found = builder.weights.lasting(
        weights.array, form, Blocks, lambda array: blocks_of(weights.matrix(array), taps)
    )
    count = found.groups
    groups = Groups(count, shape.m // count, channels // count, taps)
    if count == 1 or not _fits(node, groups, operand):
        return None
    cost = _cost_ns(groups, shape, operand, builder)
    if cost >= choice.cost_ns and choice.reason != "forced":
        return None
    packed = builder.weights.lasting(
        weights.array,
        (row.family, *form, count),
        PackedWeights,
        lambda array: _pack(weights.matrix(array), groups, operand),
    )
    rivals = ((choice.row.family, choice.cost_ns), *choice.runners_up)
    is_windows = value.op == "windows" and value in builder.later
    lanes = builder.lanes(value.shape)
    x = Seen.of(value.node, lanes, row.reads) if is_windows else builder.form(value, row.reads)
    return Split(groups, x, packed, replace(choice, row=row, cost_ns=cost, runners_up=rivals))


def _fits(node: Node, groups: Groups, operand: str) -> bool:
    """Whether quads that are read, stored or added are a group's own."""
    has_bytes = operand == "u8" or node.attrs.get("store") is not None or len(node.inputs) > 3
    fits_result = groups.rows % QUAD == 0 or not has_bytes
    return fits_result and (groups.channels % QUAD == 0 or operand != "u8")


def emit_groups(
    builder: Builder, layer: Layer, groups: Groups, x: Panel | Seen, y: Panel, product: Called
) -> None:
    """Append the step."""
    lanes, strips = x.lanes, product.fields["strips"]
    unit = TOGETHER[x.form] if isinstance(x, Seen) else 1
    epilogue, source = product.fields["epilogue"], _place(builder, groups, x)
    parts = min(groups.count, -(-_TILES_EACH * builder.machine.members // lanes.panels))
    part_groups = -(-groups.count // parts)
    tiles = -(-groups.count // part_groups) * lanes.panels
    k = groups.taps * (groups.channels // unit)
    panel_bytes = (k + 15) * lanes.row_bytes if isinstance(x, Seen) else 0
    residual = isinstance(epilogue, Record) and epilogue.fields.get("residual_step", 0) != 0
    entries = product.fields["w"]
    fields: dict[str, Field | Record | Kernel] = {
        **source.fields,
        "product": Record(PRODUCT, {**product.fields, "panel_block": 1}),
        "kernel": product.kernel,
        "groups": groups.count,
        "parts": -(-groups.count // part_groups),
        "part_groups": part_groups,
        "strips": strips,
        "w_group": _bytes_of(entries) // groups.count,
        "rows": groups.rows,
        "y_group": groups.rows // (QUAD if y.quads else 1) * y.lanes.row_bytes,
        "residual_group": groups.rows // (QUAD if residual else 1) * y.lanes.row_bytes,
        "panel_bytes": panel_bytes,
    }
    builder.emit(
        layer,
        convolve_groups,
        Record(GROUPED, fields),
        tiles=tiles,
        reads=(*source.reads, *product.reads),
        writes=product.writes,
        tile_ns=(layer.predicted_ns or 0.0) / tiles,
        scratch=scratch_bytes(panel_bytes, product.scratch),
    )


def _bytes_of(w: Field | Record | Kernel) -> int:
    if isinstance(w, Location) and not isinstance(w.place, Buffer):
        return int(w.place.array.nbytes)
    message = "weights of groups are constant"
    raise TypeError(message)


@dataclass(frozen=True, slots=True)
class _Place:
    fields: dict[str, Field | Record | Kernel]
    reads: tuple[Buffer, ...]


def _place(builder: Builder, groups: Groups, x: Panel | Seen) -> _Place:
    """Where groups find what they multiply: planes, or rows of a panel."""
    if isinstance(x, Panel):
        rows = quad_rows(groups.channels) if x.quads else groups.channels
        own: dict[str, Field | Record | Kernel] = {"x": x.location, "x_panel": x.panel_bytes}
        return _Place({**own, "x_group": rows * x.lanes.row_bytes}, x.buffers)
    planes, channels = emit_planes(builder, x), groups.channels // TOGETHER[x.form]
    windows = {**x.fields(planes), "channels": channels}
    step = 4 * channels * x.window.channel
    return _Place({"windows": Record(WINDOWS, windows), "x_group": step}, (planes,))
