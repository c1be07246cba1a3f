"""The state of a lowering: where each value lies, in which forms, and the steps so far.

A value may lie as rows (as ONNX says), as an f32 panel or as u8 quads; asking for a form it lacks
appends the step that makes it, once. Pixels may also lie in the image they come from, and `later` holds
what makes a value's first form when somebody asks for one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.cost import Rates
from engine.kernels.layout import WIDTHS, Lanes, quad_rows
from engine.kernels.movement import rows as movement
from engine.kernels.movement.bytes import (
    BYTES,
    ROW_BYTES,
    TILE_QUADS,
    TO_BYTES,
    quads_to_lane_rows,
    quads_to_signed_rows,
)
from engine.kernels.row import aligned
from engine.lowering.machine import Machine
from engine.lowering.panels import VECTORS_BEHIND, Panel, constant_panel, new_panel
from engine.lowering.stored_planes import pairs_of_image, split_form, stored_form
from engine.plan.steps import (
    Array,
    Buffer,
    Field,
    Fixed,
    HostStep,
    Layer,
    Location,
    Record,
    Span,
    Step,
    Tensor,
)
from engine.plan.weights import WeightStore

# A claim should be worth some microseconds of work, so that claiming is not what members do.
CLAIM_NS = 4000.0
F32, U8 = np.dtype(np.float32), np.dtype(np.uint8)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a constant matrix, apart from the file they came from."""

    rows: Array


@dataclass(frozen=True, slots=True)
class Strided:
    """Elements of a tensor that nobody has copied: the first at so many bytes, and bytes along each axis."""

    tensor: Tensor
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OpenProduct:
    """A product whose step is emitted when somebody asks for its results, or is made a part of its only reader's.

    fields   of its record, but for where x lies in several panels
    m        rows of its result, of which a strip has `strip_bytes` bytes of weights
    """

    fields: Mapping[str, Field | Record | Kernel]
    kernel: Kernel
    scratch: int
    reads: tuple[Buffer, ...]
    m: int
    strip_bytes: int
    layer: Layer


@dataclass(slots=True)
class Builder:
    """Collects steps; asks for forms of values go through it."""

    machine: Machine
    weights: WeightStore
    forced_family: str | None = None
    rates: Rates = field(default_factory=dict)
    steps: list[Step | HostStep] = field(default_factory=list)
    tensors: dict[Value, Tensor] = field(default_factory=dict)
    panels: dict[Value, Panel] = field(default_factory=dict)
    quads: dict[Value, Panel] = field(default_factory=dict)
    bytes: dict[Value, Panel] = field(default_factory=dict)
    planes: dict[tuple[Value, str], Panel] = field(default_factory=dict)
    images: dict[Value, Tensor] = field(default_factory=dict)
    later: dict[Value, Callable[[], None]] = field(default_factory=dict)
    makers: dict[Value, int] = field(default_factory=dict)
    reserved: dict[Value, Panel] = field(default_factory=dict)
    reserved_rows: dict[Value, Location] = field(default_factory=dict)
    strided: dict[Value, Strided] = field(default_factory=dict)
    private: set[Value] = field(default_factory=set)
    open_products: dict[Value, OpenProduct] = field(default_factory=dict)
    fault: Buffer = field(default_factory=lambda: Buffer(64, permanent=True))

    # -- constants
    def fixed(self, array: Array, form: str = "rows") -> Location:
        """A constant's bytes, in C order on a cache line, with room to read a whole vector past the end."""

        def copy(source: Array) -> Array:
            made = aligned(source.size + 64 // source.itemsize, source.dtype)
            made[: source.size] = source.reshape(-1)
            return made

        return Location(Fixed(self.weights.packed(array, form, copy)))

    def table(self, array: Array) -> Location:
        """A constant that is read row by row, mapped from the packed weights: a request touches few rows."""

        def copy(source: Array) -> Table:
            return Table(np.array(source, order="C"))

        return Location(Fixed(self.weights.lasting(array, "table", Table, copy).rows))

    def padded(self, array: Array, size: int, dtype: type[np.generic]) -> Location:
        """A vector of constants, padded with zeros to `size`."""

        def pad(source: Array) -> Array:
            made = aligned(max(size, source.size), dtype)
            made[: source.size] = source.reshape(-1)
            return made

        return Location(Fixed(self.weights.packed(array, ("padded", size, np.dtype(dtype).name), pad)))

    def _constant_panel(self, array: Array) -> Panel:
        lanes = self.lanes(array.shape)
        return self.weights.packed(array, ("panel", lanes), lambda a: constant_panel(a, lanes))

    # -- forms
    def lanes(self, shape: tuple[int, ...]) -> Lanes:
        """The lanes of a tensor [..., k]."""
        return Lanes.of(shape, self.machine.widest)

    def deciding_lanes(self, shape: tuple[int, ...], operand: str) -> Lanes:
        """The lanes by which a product over a tensor [..., k] gets its row.

        Of a plan in narrow panels requests are expected to fill one. Sums of integers are exact, so that a row for few
        lanes may be taken; others keep that of wide panels and whole batches, whose results are the same to the bit.
        """
        if operand != "u8":
            items, batch = self.machine.share
            return Lanes.of((shape[0] * batch // items, *shape[1:]), WIDTHS[-1])
        own = self.lanes(shape)
        is_narrow = self.machine.widest < WIDTHS[-1] and own.panels > 1
        return Lanes(1, own.width, own.width) if is_narrow else own

    def new_panel(self, shape: tuple[int, ...], *, quads: bool = False) -> Panel:
        """A fresh place for a tensor [..., k] of this shape."""
        return new_panel(self.lanes(shape), shape[-1], quads=quads)

    def result(self, value: Value, *, quads: bool = False) -> Panel:
        """A place for a value [..., k] that a step makes: the one that is reserved beside others, or a fresh one."""
        return self.reserved.get(value) or self.new_panel(value.shape, quads=quads)

    def rows(self, value: Value) -> Tensor:
        """The value as ONNX lays it out."""
        self._make(value)
        if value not in self.tensors:
            array = value.array
            if array is not None:
                self.tensors[value] = Tensor(array.dtype, array.shape, self.fixed(array))
            elif value in self.panels:
                self.tensors[value] = self._unpack(value, self.panels[value], movement.to_rows)
            else:
                self.tensors[value] = self._unpack(value, self.quads[value], movement.quads_to_rows)
        return self.tensors[value]

    def panel(self, value: Value) -> Panel:
        """The float32 value [..., k] as an f32 panel."""
        self._make(value)
        if value not in self.panels:
            array = value.array
            if array is not None:
                self.panels[value] = self._constant_panel(array)
            else:
                self.panels[value] = self._pack(value, self.result(value), movement.to_panel)
        return self.panels[value]

    def quad_panel(self, value: Value) -> Panel:
        """The uint8 value [..., k] as quads."""
        self._make(value)
        if value not in self.quads:
            self.quads[value] = self._pack(
                value, self.new_panel(value.shape, quads=True), movement.rows_to_quads
            )
        return self.quads[value]

    def byte_panel(self, value: Value) -> Panel:
        """The uint8 value [..., k] as rows of bytes, of 64-lane panels in pair order."""
        if value not in self.bytes:
            quads = self.quad_panel(value)
            width = quads.lanes.width
            self.bytes[value] = self._spread(value, quads, TO_BYTES[width])
        return self.bytes[value]

    def signed_rows(self, value: Value) -> Panel:
        """The uint8 value [..., k] less 128, as rows of signed bytes in the order of lanes. Made at each call."""
        return self._spread(value, self.quad_panel(value), quads_to_signed_rows)

    def lane_rows(self, value: Value) -> Panel:
        """The uint8 value [..., k] as a row of bytes for each lane, a multiple of 64 of them. Made at each call."""
        quads = self.quad_panel(value)
        return self._spread(value, quads, quads_to_lane_rows, rows=-(-quads.k // 64) * 64)

    def plane_panel(self, value: Value, form: str) -> Panel:
        """The float32 value [..., k] in a form of bfloat16: "pairs", "planes1", "planes3" or "rows"."""
        if (value, form) not in self.planes:
            self.planes[value, form] = self._new_form(value, form)
        return self.planes[value, form]

    def _new_form(self, value: Value, form: str) -> Panel:
        if form == "pairs" and value in self.images and value not in self.panels:
            return pairs_of_image(self, value)
        self._make(value)
        return stored_form(self, value, form) or split_form(self, value, form)

    def form(self, value: Value, reads: str) -> Panel:
        """The value in the form that a product row reads."""
        if reads == "pairs" or reads.startswith("planes"):
            return self.plane_panel(value, reads)
        forms = {"panel": self.panel, "quads": self.quad_panel, "bytes": self.byte_panel}
        return forms[reads](value)

    def new_rows(self, value: Value, *, permanent: bool = False) -> Tensor:
        """A fresh row-major place for a value; padded, as kernels may read whole vectors at its end."""
        size = math.prod(value.shape) * value.dtype.itemsize
        fresh = Location(Buffer(size + VECTORS_BEHIND, permanent))
        tensor = Tensor(value.dtype, value.shape, self.reserved_rows.get(value, fresh))
        self.tensors[value] = tensor
        return tensor

    def is_panel(self, value: Value) -> bool:
        """Whether the value lies as an f32 panel, or will when somebody asks for it."""
        will_be = value in self.later and value.dtype == F32 and value not in self.strided
        return value in self.panels or will_be

    # -- steps
    def emit(  # noqa: PLR0913 - the columns of a step
        self,
        layer: Layer,
        kernel: Kernel,
        args: Record,
        *,
        tiles: int,
        reads: Sequence[Buffer],
        writes: Sequence[Buffer],
        tile_ns: float = 1000.0,
        scratch: int = 0,
        together: int = 1,
        span: Span | None = None,
    ) -> None:
        """Append a compiled step; how many tiles are claimed at once follows from what one costs.

        together    tiles that had better be claimed at once, where there are enough for all members
        """
        narrow = span is not None and self.machine.widest < WIDTHS[-1]
        busy = span.of_one_panel if span is not None and narrow else tiles
        share = max(1, busy // (2 * self.machine.members))
        grain = max(1, min(share, round(CLAIM_NS / max(tile_ns, 1.0))))
        whole = -(-grain // together) * together
        grain = whole if whole <= share else grain
        self.steps.append(Step(layer, kernel, args, tiles, grain, scratch, tuple(reads), tuple(writes), span))

    def _make(self, value: Value) -> None:
        make = self.later.pop(value, None)
        if make is not None:
            make()

    def _unpack(self, value: Value, panel: Panel, kernel: Kernel) -> Tensor:
        tensor = self.new_rows(value)
        self._move(value, panel, tensor, kernel, to_panel=False)
        return tensor

    def _pack(self, value: Value, panel: Panel, kernel: Kernel) -> Panel:
        self._move(value, panel, self.rows(value), kernel, to_panel=True)
        return panel

    def _spread(self, value: Value, quads: Panel, kernel: Kernel, rows: int | None = None) -> Panel:
        """Quads to rows of bytes, by one of the kernels of movement.bytes; a tile's row may begin in the last."""
        rows = 4 * quad_rows(quads.k) if rows is None else rows
        panel_bytes = rows * quads.lanes.width
        size = panel_bytes * quads.lanes.panels + ROW_BYTES
        y = Panel(Location(Buffer(size)), quads.lanes, quads.k, panel_bytes)
        tiles = -(-quad_rows(quads.k) // TILE_QUADS)
        fields: dict[str, Field | Record] = {
            "x": quads.location,
            "x_panel": quads.panel_bytes,
            "y": y.location,
            "y_panel": y.panel_bytes,
            "quads": quad_rows(quads.k),
            "tiles_of_panel": tiles,
            "row_bytes": quads.lanes.row_bytes,
        }
        self.emit(
            Layer(value.node.name, "layout", kernel.name, 0),
            kernel,
            Record(BYTES, fields),
            tiles=tiles * quads.lanes.panels,
            reads=quads.buffers,
            writes=y.buffers,
            tile_ns=12.0 * TILE_QUADS,
            span=Span(quads.lanes, per_panel=tiles),
        )
        return y

    def _move(self, value: Value, panel: Panel, tensor: Tensor, kernel: Kernel, *, to_panel: bool) -> None:
        lanes = panel.lanes
        fields: dict[str, Field | Record] = {
            "rows": place_of(tensor),
            "rows_stride": panel.k * tensor.dtype.itemsize,
            "panel": panel.location,
            "panel_bytes": panel.panel_bytes,
            "k": panel.k,
            "row_bytes": lanes.row_bytes,
            **lane_fields(lanes),
        }
        reads, writes = buffers(tensor), panel.buffers
        if not to_panel:
            reads, writes = writes, reads
        layer = Layer(value.node.name, "layout", kernel.name, 0)
        self.emit(
            layer,
            kernel,
            Record(movement.MOVEMENT, fields),
            tiles=lanes.vectors,
            reads=reads,
            writes=writes,
            tile_ns=16.0 * panel.k,
            scratch=movement.SCRATCH,
            span=Span(lanes, per_vector=1),
        )


def lane_fields(lanes: Lanes) -> dict[str, int]:
    """The fields by which kernels know lanes."""
    return {"outer": lanes.outer, "inner": lanes.inner, "pitch": lanes.pitch}


def buffers(tensor: Tensor) -> tuple[Buffer, ...]:
    """The arena buffer of a tensor, if it has one."""
    if tensor.location is not None and isinstance(tensor.location.place, Buffer):
        return (tensor.location.place,)
    return ()


def place_of(tensor: Tensor) -> Location:
    """The tensor's location. Only for tensors that have one."""
    if tensor.location is None:
        message = "a value of unknown shape has no place in memory"
        raise NotImplementedError(message)
    return tensor.location


# What a lowering answers: None when the node is lowered, else the reason why it has no kernel.
Lowered = str | None


@dataclass(frozen=True, slots=True)
class OpLowering:
    """One operator's lowering. `lower` checks first and appends steps only when it will succeed."""

    op: str
    lower: Callable[[Node, Builder], Lowered]
