"""layer_norm and Softmax over features: down the rows of a panel."""

from __future__ import annotations

import numpy as np

from engine.graph.ir import Node
from engine.kernels.layout import VECTOR_LANES, WIDTHS, Lanes
from engine.kernels.norm.moments import MOMENTS
from engine.kernels.norm.rows import NORM, normalize
from engine.kernels.simd.narrow import HAS_NARROWING
from engine.kernels.softmax.rows import SOFTMAX, softmax
from engine.lowering.builder import F32, Builder, Lowered, OpLowering
from engine.lowering.ops._products import optional, required
from engine.lowering.ops._requantise import are_in_reach
from engine.lowering.quotients import two_part_inverse
from engine.plan.steps import Array, Buffer, Field, Layer, Record, Span

# What a vector of lanes takes in tiles that are no whole panels, by their vectors, relative to one that is. Two cores that
# shared a panel took 15 to 18 us for halves of it (768 features), 13 vector by vector: x comes from both.
_PARTS_OF_PANEL = {1: 1.2, 2: 1.35}
_VECTOR_NS = 3.0
# |x - mean| is no more than sqrt(k variance), and with the roundings of both far less than this times k.
_SPREAD = 4.0
# Beside which the squares of rows that float32 cannot hold are nothing.
_LEAST_EPSILON = 1e-30


def _vectors_of_tile(builder: Builder, lanes: Lanes, heads: int) -> int:
    """As many vectors as possible, as long as no core waits for another's tile for long."""
    of_panel, cores = lanes.width // VECTOR_LANES, builder.machine.cores
    # Of a plan in narrow panels requests are expected to fill one.
    panels = 1 if builder.machine.widest < WIDTHS[-1] else lanes.panels

    def time(vectors: int) -> float:
        tiles = panels * heads * of_panel // vectors
        return -(-tiles // cores) * vectors * (1.0 if vectors == of_panel else _PARTS_OF_PANEL[vectors])

    return min((of_panel, *(vectors for vectors in _PARTS_OF_PANEL if vectors < of_panel)), key=time)


def _division(gain: Array, bias: Array | None, k: int, epsilon: float, step: float) -> dict[str, Field]:
    """The fields by which the shorter way divides, where it gives the same bytes; else none."""
    largest = _SPREAD * k * float(np.max(np.abs(gain)))
    largest += 0.0 if bias is None else float(np.max(np.abs(bias)))
    if not HAS_NARROWING or k % 4 or not epsilon >= _LEAST_EPSILON or not are_in_reach(largest, step):
        return {}
    inverse = two_part_inverse(step)
    return {} if inverse is None else {"inverse": inverse[0], "inverse_rest": inverse[1]}


def _layer_norm(node: Node, builder: Builder) -> Lowered:
    gain, bias = required(node, 1).array, optional(node, 2)
    if gain is None or (bias is not None and bias.array is None):
        return "its gain or bias is not constant"
    x, heads = builder.panel(required(node, 0)), int(node.attrs.get("heads", 1))
    vectors, addend = _vectors_of_tile(builder, x.lanes, heads), None if bias is None else bias.array
    y = builder.new_panel(node[0].shape)
    writes: list[Buffer] = [*y.buffers]
    zeros = builder.weights.packed(gain, "zeros", np.zeros_like)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "k": x.k // heads,
        "heads": heads,
        "row_bytes": x.lanes.row_bytes,
        "gain": builder.fixed(gain),
        "bias": builder.fixed(zeros if addend is None else addend),
        "epsilon": float(node.attrs["epsilon"]),
        "keeps_mean": int(node.attrs.get("keeps_mean", False)),
        "vectors": vectors,
    }
    if node.attrs["quantize"] is not None:
        step, zero_point = node.attrs["quantize"]
        quads = builder.new_panel(node[0].shape, quads=True)
        fields |= {"quads": quads.location, "quads_panel": quads.panel_bytes}
        fields |= {"step": float(step), "zero_point": int(zero_point), "rounded": int(node.attrs["rounded"])}
        fields |= _division(gain, addend, x.k, float(node.attrs["epsilon"]), float(step))
        writes += quads.buffers
        builder.quads[node[1]] = quads
    builder.emit(
        Layer(node.name, node.op, normalize.name),
        normalize,
        Record(NORM, fields),
        tiles=x.lanes.vectors // vectors * heads,
        reads=x.buffers,
        writes=writes,
        tile_ns=_VECTOR_NS * vectors * x.k / heads,
        scratch=MOMENTS,
        span=_span(x.lanes, vectors, heads),
    )
    builder.panels[node[0]] = y
    if node.attrs["quantize"] is None and heads == 1:
        builder.makers[node[0]] = len(builder.steps) - 1
    return None


def _span(lanes: Lanes, vectors: int, heads: int) -> Span:
    if vectors == 1:
        return Span(lanes, per_vector=heads)
    return Span(lanes, per_panel=lanes.width // VECTOR_LANES // vectors * heads)


def _softmax(node: Node, builder: Builder) -> Lowered:
    value = required(node, 0)
    if value.dtype != F32 or node.attrs["axis"] not in (-1, len(value.shape) - 1):
        return "it is not float32 over the last axis"
    x, y = builder.panel(value), builder.new_panel(value.shape)
    fields: dict[str, Field | Record] = {
        "x": x.location,
        "x_panel": x.panel_bytes,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "k": x.k,
        "row_bytes": x.lanes.row_bytes,
    }
    builder.emit(
        Layer(node.name, node.op, softmax.name),
        softmax,
        Record(SOFTMAX, fields),
        tiles=x.lanes.vectors,
        reads=x.buffers,
        writes=y.buffers,
        tile_ns=10.0 * x.k,
        span=Span(x.lanes, per_vector=1),
    )
    builder.panels[node[0]] = y
    return None


LOWERINGS = (OpLowering("layer_norm", _layer_norm), OpLowering("Softmax", _softmax))
