"""Conv of float32 images: planes with padding, then a direct or a depthwise convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.convolution import depthwise, direct
from engine.kernels.convolution.arguments import CONVOLUTION
from engine.kernels.convolution.planes import PLANES, TILE, Window, to_planes
from engine.kernels.cost import even_block, panels_of_block
from engine.kernels.products.epilogue import EPILOGUE
from engine.kernels.products.strips import STRIP
from engine.kernels.row import Array, PackedWeights, aligned
from engine.lowering.builder import F32, Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import STRIP_MARGIN, optional, required
from engine.plan.steps import Buffer, Field, Fixed, Layer, Location, Record

# Nanoseconds of a multiply-add of sixteen pixels, and of a pixel that is stored.
_STEP_NS, _PIXEL_NS = 0.3, 0.2


def _window(node: Node, x: Value, w: Value) -> Window:
    """The sizes as pairs; a signal of one axis is an image of one row."""

    def pair(numbers: tuple[int, ...], missing: int) -> tuple[int, int]:
        return (missing, int(numbers[0])) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))

    axes, attrs = len(x.shape) - 2, node.attrs
    return Window(
        pair(x.shape[2:], 1),
        pair(node[0].shape[2:], 1),
        pair(w.shape[2:], 1),
        pair(attrs["strides"], 1),
        pair(attrs["dilations"], 1),
        pair(attrs["pads"][:axes], 0),
    )


@dataclass(frozen=True, slots=True)
class _Form:
    """A kernel and what its args take from the weights."""

    kernel: Kernel
    weights: Location
    k: int
    strips: int
    tiles: int
    tile_ns: float
    scratch: int
    sparsity: float | None


def _form(node: Node, builder: Builder, weights: Array, window: Window) -> _Form:
    images, m, groups = node[0].shape[0], weights.shape[0], int(node.attrs["group"])
    k = int(np.prod(weights.shape[1:]))
    pixels = window.tiles * TILE
    if weights.shape[1] == 1 and groups > 1:
        ns = pixels * (k * _STEP_NS / 16 + _PIXEL_NS)
        place = builder.fixed(weights)
        return _Form(depthwise.convolve_depthwise, place, k, m, images * m, ns, depthwise.SCRATCH, None)
    packed = builder.weights.lasting(
        weights, ("convolution", groups), PackedWeights, lambda a: direct.pack_groups(a, groups)
    )
    tiles = packed.strips * images * window.tiles
    ns = TILE * STRIP * (k * _STEP_NS / 16 + _PIXEL_NS)
    weights_at = Location(Fixed(packed.entries))
    return _Form(direct.convolve, weights_at, k, packed.strips, tiles, ns, direct.SCRATCH, packed.sparsity)


def _emit_planes(builder: Builder, node: Node, x: Value, window: Window, planes: Buffer) -> None:
    """The step that lays the images out as planes."""
    images, channels = x.shape[:2]
    source = builder.rows(x)
    fields: dict[str, Field | Record] = {
        "x": place_of(source),
        "y": Location(planes),
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
    }
    builder.emit(
        Layer(node.name, "layout", to_planes.name, 0),
        to_planes,
        Record(PLANES, fields),
        tiles=images * channels,
        reads=buffers(source),
        writes=(planes,),
        tile_ns=0.3 * window.channel,
    )


def _offsets(builder: Builder, weights: Array, window: Window) -> Location:
    """Bytes from a group's first plane to pixel 0 of each step of k."""

    def make(array: Array) -> Array:
        taps = np.asarray(window.offsets(), np.int64)
        steps = np.arange(array.shape[1])[:, None] * window.channel + taps
        made = aligned(steps.size, np.int32)
        made[:] = 4 * steps.reshape(-1)
        return made

    return Location(Fixed(builder.weights.packed(weights, ("offsets", window), make)))


def _arguments(
    node: Node, builder: Builder, weights: Array, window: Window, form: _Form
) -> dict[str, Field | Record]:
    """The convolution's own args, without where images come from and results go."""
    images, m, groups = node[0].shape[0], weights.shape[0], int(node.attrs["group"])
    panels, pixels_bytes = images * window.tiles, 4 * TILE * weights.shape[1]
    block = panels_of_block(pixels_bytes, builder.machine.l2_bytes)
    return {
        "image_bytes": 4 * groups * weights.shape[1] * window.channel,
        "group_bytes": 4 * weights.shape[1] * window.channel,
        "offsets": _offsets(builder, weights, window),
        "k": form.k,
        "w": form.weights,
        "strips": form.strips,
        "group_strips": max(1, form.strips // groups),
        "group_rows": m // groups,
        "panels": panels,
        "image_panels": window.tiles,
        "panel_block": even_block(panels, builder.machine.parts, block),
        "pitch": window.pitch,
        "height": window.result[0],
        "width": window.result[1],
        "m": m,
    }


def _conv(node: Node, builder: Builder) -> Lowered:
    x, w, bias = required(node, 0), required(node, 1), optional(node, 2)
    weights = w.array
    if x.dtype != F32 or len(x.shape) not in (3, 4):
        return "images have two axes, or one, of float32"
    if weights is None or (bias is not None and bias.array is None):
        return "its weights or bias are not constant"
    window = _window(node, x, w)
    if 4 * window.channel * weights.shape[1] >= 1 << 31:
        return "an image's planes are larger than 2 GiB"
    form = _form(node, builder, weights, window)
    planes = Buffer(4 * x.shape[0] * x.shape[1] * window.channel)
    _emit_planes(builder, node, x, window, planes)
    y, m = builder.new_rows(node[0]), weights.shape[0]
    epilogue: dict[str, Field] = {"m": m, "row_bytes": 4 * TILE}
    if bias is not None and bias.array is not None:
        epilogue["bias"] = builder.padded(bias.array, m + STRIP_MARGIN, np.float32)
    places: dict[str, Field | Record] = {"x": Location(planes), "y": place_of(y)}
    arguments = _arguments(node, builder, weights, window, form)
    builder.emit(
        Layer(node.name, node.op, form.kernel.name, 1, form.sparsity),
        form.kernel,
        Record(CONVOLUTION, {**arguments, **places, "epilogue": Record(EPILOGUE, epilogue)}),
        tiles=form.tiles,
        reads=(planes,),
        writes=buffers(y),
        tile_ns=form.tile_ns,
        scratch=form.scratch,
    )
    return None


LOWERINGS = (OpLowering("Conv", _conv),)
