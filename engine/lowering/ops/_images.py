"""What the lowerings of images share: where pixels lie, and padded planes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.convolution.planes import PLANES, Window, to_planes
from engine.kernels.convolution.windows import SCRATCH, WINDOWS, to_windows
from engine.kernels.layout import Lanes, quad_margin
from engine.kernels.row import aligned
from engine.lowering.builder import F32, U8, Builder, buffers, place_of
from engine.lowering.panels import Panel
from engine.plan.steps import Array, Buffer, Field, Fixed, Layer, Location, Record, Tensor

# Channels that go together in the 32 bits of a pixel, in the form that a product row reads.
TOGETHER = {"panel": 1, "pairs": 2, "quads": 4}


@dataclass(frozen=True, slots=True)
class Place:
    """Where channel 0, lane 0 lies; bytes from channel to channel and from panel to panel; lanes of both kinds.

    rows   channels, or pairs or quads of them
    """

    location: Location
    row: int
    panel: int
    width: int
    pitch: int
    rows: int
    buffers: tuple[Buffer, ...]

    def fields(self, prefix: str) -> dict[str, Field | Record]:
        """As the record of a move has them."""
        return {
            f"{prefix}_base": self.location,
            f"{prefix}_row": self.row,
            f"{prefix}_panel": self.panel,
            f"{prefix}_width": self.width,
            f"{prefix}_pitch": self.pitch,
        }


def panel_place(panel: Panel, form: str = "panel") -> Place:
    """A panel's pixels, in a form of TOGETHER: quads say themselves that they are."""
    lanes = panel.lanes
    rows = -(-panel.k // TOGETHER["quads" if panel.quads else form])
    return Place(
        panel.location, lanes.row_bytes, panel.panel_bytes, lanes.width, lanes.pitch, rows, panel.buffers
    )


def image_place(tensor: Tensor, shape: tuple[int, ...]) -> Place:
    """The pixels of an image as ONNX lays it out, known by its shape [b, p, c] as pixels."""
    _, pixels, channels = shape
    row = pixels * tensor.dtype.itemsize
    return Place(place_of(tensor), row, row * channels, pixels, pixels, channels, buffers(tensor))


def place_of_pixels(value: Value, builder: Builder, form: str = "panel") -> Place:
    """Where the pixels [b, p, c] lie: in the image that they come from, if nothing else was made of them yet."""
    if value.dtype == U8:
        return panel_place(builder.quad_panel(value))
    if form == "pairs":
        return panel_place(builder.plane_panel(value, form), form)
    if value in builder.images and value not in builder.panels:
        return image_place(builder.images[value], value.shape)
    return panel_place(builder.panel(value))


def window_of(node: Node) -> Window:
    """Attribute `window`."""
    return Window(*node.attrs["window"])


def tap_offsets(window: Window) -> Location:
    """int32 [taps]: bytes from a channel's first plane to pixel 0 of each tap."""
    made = aligned(window.taps, np.int32)
    made[:] = 4 * np.asarray(window.offsets(), np.int64)
    return Location(Fixed(made))


def fill_fields(builder: Builder, fill: Value | None, dtype: np.dtype[np.generic]) -> dict[str, Field]:
    """What padding holds: a constant, or where it is found at run time."""
    if fill is None:
        return {}
    if fill.array is None:
        return {"fill_at": place_of(builder.rows(fill))}
    return {"fill": constant_fill(fill.array, dtype)}


def constant_fill(number: Array, dtype: np.dtype[np.generic]) -> int:
    """A number in every byte, or a float32, as the bits of a whole."""
    if dtype == F32:
        return int(number.astype(np.float32).reshape(1).view(np.int32)[0])
    return int(np.full(4, number.reshape(()), np.uint8).view(np.int32)[0])


def planes_fields(x: Place, window: Window, channels: int) -> dict[str, Field | Record]:
    """The record of padded planes, but for where they go."""
    return {
        "x": x.location,
        "x_row": x.row,
        "x_panel": x.panel,
        "x_width": x.width,
        "x_pitch": x.pitch,
        "channels": channels,
        "present": x.rows,
        "channel_bytes": 4 * window.channel,
        "plane_bytes": 4 * window.plane,
        "height": window.image[0],
        "width": window.image[1],
        "rows": window.rows,
        "pitch": window.pitch,
        "top": window.begin[0],
        "left": window.begin[1],
        "down": window.stride[0],
        "across": window.stride[1],
        "phases_down": window.phases(0),
        "phases_across": window.phases(1),
    }


def emit_planes(builder: Builder, seen: Seen) -> Buffer:
    """The step that lays the images [b, p, c] that windows see out as padded planes of channels, or pairs or quads."""
    node, channels, window, (value, fill) = seen.node, seen.channels, seen.window, seen.source
    images, x = value.shape[0], place_of_pixels(value, builder, seen.form)
    planes = Buffer(4 * images * channels * window.channel + 256)
    read = () if fill is None or fill.array is not None else buffers(builder.rows(fill))
    fields = {**planes_fields(x, window, channels), **fill_fields(builder, fill, value.dtype)}
    builder.emit(
        Layer(node.name, "layout", to_planes.name, 0),
        to_planes,
        Record(PLANES, {**fields, "y": Location(planes)}),
        tiles=images * channels,
        reads=(*x.buffers, *read),
        writes=(planes,),
        tile_ns=0.1 * window.channel,
        scratch=window.copies_bytes(x.width),
    )
    return planes


@dataclass(frozen=True, slots=True)
class Seen:
    """What a `windows` node sees, before it is laid out.

    channels   of a tap, or pairs or quads of them
    images     of a batch
    form       of TOGETHER
    """

    node: Node
    window: Window
    channels: int
    images: int
    lanes: Lanes
    form: str

    @classmethod
    def of(cls, node: Node, lanes: Lanes, form: str) -> Seen:
        """What this node sees, for the lanes of its result."""
        rows = -(-node.attrs["channels"] // TOGETHER[form])
        return cls(node, window_of(node), rows, node[0].shape[0], lanes, form)

    @property
    def source(self) -> tuple[Value, Value | None]:
        """The images, and what fills their padding."""
        value, fill = (*self.node.inputs, None)[:2]
        if value is None:
            message = f"{self.node!r} sees nothing"
            raise TypeError(message)
        return value, fill

    @property
    def k(self) -> int:
        """Features that a product multiplies: of each tap a whole number of pairs or quads."""
        return TOGETHER[self.form] * self.channels * self.window.taps

    @property
    def panel_bytes(self) -> int:
        """Of one panel."""
        rows = self.channels * self.window.taps
        behind = quad_margin(self.lanes.row_bytes) if self.form == "quads" else 0
        return rows * self.lanes.row_bytes + max(behind, 64)

    def fields(self, planes: Buffer | None) -> dict[str, Field | Record | Kernel]:
        """The record of windows, but for where they go, and where planes are if that is decided at run time."""
        window = self.window
        return {
            "x": 0 if planes is None else Location(planes),
            "image_bytes": 4 * self.channels * window.channel,
            "channel_bytes": 4 * window.channel,
            "offsets": tap_offsets(window),
            "taps": window.taps,
            "channels": self.channels,
            "plane_pitch": window.pitch,
            "width": window.result[1],
            "pixels": window.result[0] * window.result[1],
            "images": self.images,
            "lane_pitch": self.lanes.pitch,
            "row_bytes": self.lanes.row_bytes,
        }


def emit_windows(builder: Builder, seen: Seen, y: Panel) -> None:
    """The steps that lay out what is seen as panels."""
    planes = emit_planes(builder, seen)
    fields = {**seen.fields(planes), "y": y.location, "y_panel": y.panel_bytes}
    taps = seen.window.taps
    builder.emit(
        Layer(seen.node.name, "layout", to_windows.name, 0),
        to_windows,
        Record(WINDOWS, fields),
        tiles=y.lanes.panels * taps,
        reads=(planes,),
        writes=y.buffers,
        tile_ns=5.0 * seen.channels,
        scratch=SCRATCH,
    )
