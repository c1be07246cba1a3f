"""attention and quantized_attention: one step for all heads, a tile of sixteen queries or, of bytes, of a panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from engine.graph.ir import Node, Value
from engine.jit import Kernel
from engine.kernels.attention import bf16, bf16_tiled, relative, tiled, windowed
from engine.kernels.attention.quantized import KERNELS as BYTE_KERNELS
from engine.kernels.attention.quantized import quantized_scratch
from engine.kernels.attention.rows import ATTENTION, KERNELS, scratch_bytes, tile_rows
from engine.kernels.bf16_planes.rows import vector_bytes
from engine.kernels.products.epilogue import EPILOGUE
from engine.kernels.row import Array, aligned
from engine.lowering.builder import Builder, Lowered, OpLowering, buffers, place_of
from engine.lowering.ops._products import keep, optional, required, result_panel, store_fields
from engine.lowering.panels import Panel
from engine.lowering.stored_planes import lane_rows
from engine.plan.steps import Buffer, Field, Fixed, Layer, Location, Record, Span

# Time of one multiply-add of sixteen lanes, roughly; only the claims' size depends on it.
_STEP_NS = 0.4
# Of one tile.
QUERIES = 16


def _mask_fields(mask: Value | None, builder: Builder) -> tuple[dict[str, Field], tuple[Buffer, ...]]:
    """Address and byte strides of the additive mask, broadcast to [outer, heads, queries, keys]."""
    if mask is None:
        return {}, ()
    tensor = builder.rows(mask)
    shape = (1,) * (4 - len(mask.shape)) + mask.shape
    strides = np.zeros(shape, np.float32).strides
    names = ("mask_outer", "mask_head", "mask_query", "mask_key")
    # An axis of one element repeats; a stride of 0 lets the kernel see that nothing varies along it.
    fields = {
        name: 0 if size == 1 else stride for name, stride, size in zip(names, strides, shape, strict=True)
    }
    return {"mask": place_of(tensor), **fields}, buffers(tensor)


def _shared(node: Node) -> int:
    """Heads of queries for each head of keys and values."""
    heads: int = node.attrs["heads"]
    return heads // int(node.attrs.get("key_heads", heads))


def _reason(node: Node) -> str | None:
    """Why there is no kernel, if there is none."""
    q, k, v = (required(node, i) for i in range(3))
    mask, store = optional(node, 3), node.attrs.get("store")
    if len(q.shape) != 3:
        return "it is not [batch, sequence, features]"
    if v.shape[2] != k.shape[2] or k.shape[2] * _shared(node) != q.shape[2]:
        return "its values have another width than its queries"
    if store is not None and store[0] == "quantized" and q.shape[2] // node.attrs["heads"] % 4:
        return "a head's features are no whole number of quads"
    if any(optional(node, i) is not None and required(node, i).array is None for i in (4, 5)):
        return "its embeddings of distances are not constant"
    if mask is not None and (len(mask.shape) > 4 or mask.dtype != np.float32):
        return "its mask is not float32 [batch, heads, queries, keys]"
    return None


@dataclass(frozen=True, slots=True)
class _Way:
    """How an attention is computed.

    scratch   bytes of it
    step_ns   of a multiply-add of sixteen lanes, about
    forms     what makes the forms of q, k and v that the kernel reads
    by_panel  whether a tile may be a head of all queries of a panel, else of sixteen
    """

    kernel: Kernel
    scratch: int
    step_ns: float
    forms: tuple[Callable[[Builder, Value], Panel], ...]
    by_panel: bool = False


def _vectors(panel: Panel) -> Panel:
    """A plane of bfloat16, its panels counted as vectors of lanes."""
    return replace(panel, panel_bytes=vector_bytes(panel.k, 1))


def _plane(builder: Builder, value: Value) -> Panel:
    return _vectors(builder.plane_panel(value, "planes1"))


def _value_rows(builder: Builder, value: Value) -> Panel:
    return builder.plane_panel(value, "rows")


def _is_plain(node: Node) -> bool:
    """Whether nothing is rounded to 8 bits between the products, and all keys count by their scores and masks alone."""
    is_rounded = node.attrs["probability"] is not None or node.attrs["scores"] is not None
    return node.op == "attention" and not is_rounded and not {"buckets", "window"} & {*node.attrs}


def _way(node: Node, builder: Builder, keys: int, depth: int) -> _Way:
    if node.op == "quantized_attention":
        if tiled.takes(keys, depth):
            kernel, scratch = tiled.tiled_attention_kernel(depth), tiled.tiled_scratch(keys, depth)
            return _Way(
                kernel, scratch, _STEP_NS / 8, (Builder.quad_panel, Builder.lane_rows, Builder.signed_rows)
            )
        quads, scratch = Builder.quad_panel, quantized_scratch(keys, depth)
        return _Way(BYTE_KERNELS[tile_rows(depth)], scratch, _STEP_NS / 4, (quads,) * 3, by_panel=True)
    if builder.machine.precision == "bf16" and _is_plain(node):
        if bf16_tiled.takes(keys, depth):
            kernel, scratch = bf16_tiled.tiled_bf16_kernel(), bf16_tiled.tiled_scratch(keys, depth)
            return _Way(kernel, scratch, _STEP_NS / 8, (_plane, lane_rows, _value_rows))
        if bf16.takes(depth):
            kernel, scratch = bf16.bf16_attention_kernel(tile_rows(depth)), bf16.pairs_scratch(keys, depth)
            return _Way(kernel, scratch, _STEP_NS / 2, (_plane, _plane, _value_rows))
    return _f32_way(node, keys, depth)


def _f32_way(node: Node, keys: int, depth: int) -> _Way:
    kernels, scratch, step_ns = KERNELS, scratch_bytes(keys, depth), _STEP_NS
    if node.attrs.get("buckets") is not None:
        positions = max(node.attrs["buckets"]) + 1
        kernels, scratch, step_ns = (
            relative.KERNELS,
            relative.scratch_bytes(keys, depth, positions),
            2 * _STEP_NS,
        )
    elif node.attrs.get("window") is not None:
        seen = min(keys, sum(node.attrs["window"][:2]) + QUERIES)
        kernels, step_ns = windowed.KERNELS, _STEP_NS * seen / keys
    return _Way(kernels[tile_rows(depth)], scratch, step_ns, (Builder.panel,) * 3)


def _lower(node: Node, builder: Builder) -> Lowered:
    reason = _reason(node)
    if reason is not None:
        return reason
    values = [required(node, i) for i in range(3)]
    keys, depth = values[1].shape[1], values[0].shape[2] // node.attrs["heads"]
    way = _way(node, builder, keys, depth)
    q, k, v = (make(builder, value) for make, value in zip(way.forms, values, strict=True))
    mask_fields, mask_buffers = _mask_fields(optional(node, 3), builder)
    mask_fields |= _position_fields(node, builder)
    if node.op == "quantized_attention":
        mask_fields |= {name: int(node.attrs[name]) for name in ("q_zero", "k_zero", "v_zero")}
    y = result_panel(node, builder, node.attrs.get("store"))
    reads = (*q.buffers, *k.buffers, *v.buffers, *mask_buffers)
    _emit(node, builder, way, (q, k, v, y), mask_fields, reads, (keys, depth))
    if node.attrs.get("store") is None and depth % 2 == 0:
        builder.makers[node[0]] = len(builder.steps) - 1
    keep(node, builder, y)
    return None


def _position_fields(node: Node, builder: Builder) -> dict[str, Field]:
    """Embeddings of distances, [heads * depth][r], and which of them a distance has; with margins."""
    if node.attrs.get("buckets") is None:
        return {}
    known = np.array(node.attrs["buckets"], np.int32)
    margin = relative.MARGIN
    before, behind = (np.full(margin, known[end], np.int32) for end in (0, -1))
    buckets = np.concatenate([before, known, behind])

    def wider(array: Array) -> Array:
        rows = array.reshape(-1, array.shape[-1])
        made = aligned((len(rows) + 1, rows.shape[1] + margin), np.float32)
        made[:] = 0
        made[: len(rows), : rows.shape[1]] = rows
        return made

    arrays = [array for i in (4, 5) if (array := required(node, i).array) is not None]
    places = [Location(Fixed(builder.weights.packed(array, ("positions",), wider))) for array in arrays]
    width = 4 * (int(known.max()) + 1 + margin)
    return {
        "buckets": builder.fixed(buckets),
        "key_positions": places[0],
        "query_positions": places[1],
        "position_bytes": width,
    }


def _rounding_fields(node: Node) -> dict[str, Field]:
    """Scale, and the places where the graph rounds to 8 bits."""
    attrs = node.attrs
    fields: dict[str, Field] = {
        "multiplier": float(attrs["multiplier"]),
        "context_multiplier": float(attrs["context_multiplier"]),
        "zero_masked_rows": int(attrs["zero_masked_rows"]),
    }
    if attrs["probability"] is not None:
        step, zero = attrs["probability"]
        fields |= {"probability_step": float(step), "probability_zero": int(zero)}
    for name, pair in zip(("score", "scaled", "masked"), attrs["scores"] or (), strict=False):
        if pair is not None:
            fields |= {f"{name}_step": float(pair[0]), f"{name}_zero": int(pair[1])}
    if attrs.get("window") is not None:
        before, behind, outside = attrs["window"]
        fields |= {"before": before, "behind": behind, "outside": float(outside)}
    return {**fields, "score_multiplier": float(attrs["score_multiplier"])}


def _epilogue(node: Node, q: Panel, y: Panel, keys: int) -> Record:
    fields: dict[str, Field] = {
        **store_fields(node.attrs.get("store")),
        "m": q.k,
        "y": y.location,
        "y_panel": y.panel_bytes,
        "row_bytes": q.lanes.row_bytes,
    }
    return Record(EPILOGUE, fields | _packed_fields(node, keys))


def _packed_fields(node: Node, keys: int) -> dict[str, Field]:
    """1 / step of a context that is stored as bytes, where its division is exact by that and no quotient leaves an int32."""
    store = node.attrs.get("store")
    if node.op != "quantized_attention" or store is None or store[0] != "quantized":
        return {}
    step, largest = float(store[1]), 255.0 * 255.0 * keys * abs(float(node.attrs["context_multiplier"]))
    # A comparison with NaN is false: such constants go the longer way.
    if not (2.0**-60 < step < 2.0**60 and largest / step < 2.0**30):
        return {}
    return {"inverse": float(np.float32(1) / np.float32(step))}


def _emit(
    node: Node,
    builder: Builder,
    way: _Way,
    panels: tuple[Panel, Panel, Panel, Panel],
    mask_fields: dict[str, Field],
    reads: tuple[Buffer, ...],
    sizes: tuple[int, int],
) -> None:
    q, k, _, y = panels
    keys, depth = sizes
    heads, lanes = node.attrs["heads"], q.lanes
    # Every member should have a tile: what a panel's share is then made for each sixteen.
    is_whole = way.by_panel and lanes.panels * heads >= builder.machine.members
    vectors = lanes.width // 16 if is_whole else 1
    span = Span(lanes, per_panel=heads) if is_whole else Span(lanes, per_vector=heads)
    fields: dict[str, Field | Record] = {
        **{name: panel.location for name, panel in zip("qkv", panels, strict=False)},
        **{f"{name}_panel": panel.panel_bytes for name, panel in zip("qkv", panels, strict=False)},
        "q_row_bytes": lanes.row_bytes,
        "q_pitch": lanes.pitch,
        "kv_row_bytes": k.lanes.row_bytes,
        "kv_pitch": k.lanes.pitch,
        "heads": heads,
        "shared": _shared(node),
        "depth": depth,
        "queries": lanes.inner,
        "keys": keys,
        "tiles": lanes.outer * lanes.pitch // 16 * heads,
        "vectors": vectors,
        **mask_fields,
        **_rounding_fields(node),
        "epilogue": _epilogue(node, q, y, keys),
    }
    builder.emit(
        Layer(node.name, node.op, way.kernel.name),
        way.kernel,
        Record(ATTENTION, fields),
        tiles=lanes.vectors // vectors * heads,
        reads=reads,
        writes=y.buffers,
        tile_ns=2 * keys * depth * way.step_ns * vectors,
        scratch=way.scratch,
        span=span if k.lanes == lanes else None,
    )


LOWERINGS = (OpLowering("attention", _lower), OpLowering("quantized_attention", _lower))
