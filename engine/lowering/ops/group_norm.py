"""group_norm: three steps, from panels of pixels to panels of pixels."""

from __future__ import annotations

from engine.graph.ir import Node
from engine.jit import Kernel
from engine.kernels.group_norm.rows import BAND, GROUP_NORM, PART, SCRATCH, apply, combine, find_parts
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.products.activators import activator_of
from engine.kernels.products.epilogue import EPILOGUE
from engine.lowering.builder import Builder, Lowered, OpLowering
from engine.lowering.ops._products import activation_fields, required
from engine.plan.steps import Buffer, Field, Layer, Location, Record

# Bytes of a part's numbers for one channel, and of an image's.
_MOMENTS, _FACTORS = 128, 8


def _group_norm(node: Node, builder: Builder) -> Lowered:
    gain, bias = required(node, 1).array, required(node, 2).array
    if gain is None or bias is None:
        return "its gain or bias is not constant"
    x, y = builder.panel(required(node, 0)), builder.new_panel(node[0].shape)
    images, pixels, channels = node[0].shape
    whole, tail = divmod(pixels, VECTOR_LANES)
    parts, bands = -(-whole // PART) + (tail > 0), -(-channels // BAND)
    moments = Buffer(images * parts * channels * _MOMENTS)
    factors = Buffer(images * channels * _FACTORS)
    last = activation_fields(node.attrs["activation"])
    fields: dict[str, Field | Record | Kernel] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "row_bytes": x.lanes.row_bytes,
        "k": channels,
        "pitch": x.lanes.pitch,
        "images": images,
        "whole": whole,
        "tail": tail,
        "parts": parts,
        "bands": bands,
        "moments": Location(moments),
        "factors": Location(factors),
        "gain": builder.fixed(gain),
        "bias": builder.fixed(bias),
        "groups": node.attrs["groups"],
        "activator": 0 if last["activation"] == 0 else activator_of(last),
        "epilogue": Record(EPILOGUE, last),
        "epsilon": float(node.attrs["epsilon"]),
    }

    def emit(kernel: Kernel, tiles: int, reads: tuple[Buffer, ...], write: Buffer, tile_ns: float) -> None:
        layer, args = Layer(node.name, node.op, kernel.name), Record(GROUP_NORM, fields)
        writes = (write,)
        builder.emit(
            layer, kernel, args, tiles=tiles, reads=reads, writes=writes, tile_ns=tile_ns, scratch=SCRATCH
        )

    own = channels // node.attrs["groups"]
    emit(find_parts, images * parts * bands, x.buffers, moments, 16.0 * BAND)
    emit(combine, images * node.attrs["groups"], (moments,), factors, 20.0 + 8.0 * parts * own)
    emit(apply, x.lanes.panels * bands, (*x.buffers, factors), y.buffers[0], 6.0 * BAND)
    builder.panels[node[0]] = y
    return None


LOWERINGS = (OpLowering("group_norm", _group_norm),)
