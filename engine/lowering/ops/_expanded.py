"""A product and the depthwise convolution that alone reads it, as one step: see kernels/convolution/expanded.py."""

from __future__ import annotations

from dataclasses import dataclass

from engine.graph.ir import Graph, Node, Value
from engine.kernels.convolution.expanded import EXPANDED, FRONT, expand_and_slide
from engine.kernels.convolution.flat import depthwise_flat
from engine.kernels.convolution.flat_places import FLAT, TOGETHER, Flat
from engine.kernels.layout import Lanes
from engine.kernels.products.arguments import PRODUCT, STRIP
from engine.lowering.builder import Builder, OpenProduct
from engine.lowering.ops._products import required
from engine.lowering.panels import Panel
from engine.plan.steps import Buffer, Field, Layer, Record

# Tiles for each member at least, and bytes of a strip's results that a member keeps.
_TILES_EACH, _MOST_BYTES = 4, 192 * 1024


def private_products(graph: Graph) -> set[Value]:
    """Results of products that one depthwise convolution reads, and nobody else."""
    found, uses = set(), graph.uses()
    for node in graph.nodes():
        value = node.inputs[0] if node.op == "depthwise" else None
        if value is not None and value.op == "linear" and uses[value] == 1:
            found.add(value)
    return found


@dataclass(frozen=True, slots=True)
class Expanded:
    """Bands of an image that a tile takes, tiles of an image by one strip, and a member's scratch.

    row_bytes   of a row of lanes, with zeros before (so many bytes) and behind
    scratch     bytes that the kernels need beside
    """

    product: OpenProduct
    bands: int
    parts: int
    row_bytes: int
    before: int
    scratch: int

    @property
    def rest(self) -> int:
        """Place in scratch behind the rows."""
        return FRONT + STRIP * self.row_bytes

    @classmethod
    def of(cls, product: OpenProduct, lanes: Lanes, flat: Flat, bands: int) -> Expanded:
        """For so many bands in a tile, over an image in these lanes."""
        above, below = flat.reach
        before, after = (_whole_lines(flat.margin + rows * flat.pitch) for rows in (-above, below))
        # A part may begin and end within a panel.
        panels = flat.seen_lanes(bands) // lanes.width + 2
        row_bytes = before + panels * lanes.row_bytes + after + 64 * TOGETHER
        # Rows do not fall on the same sets of a cache.
        row_bytes += 64 if row_bytes % 1024 == 0 else 0
        scratch = max(product.scratch, flat.places["size"])
        return cls(product, bands, -(-flat.bands // bands), row_bytes, before, scratch)


def expanded(value: Value, builder: Builder, flat: Flat, images: int) -> Expanded | None:
    """How the product that makes `value` becomes a part; None where it is made already, or had better be."""
    product = builder.open_products.get(value)
    if product is None or value not in builder.later:
        return None
    strips = -(-product.m // STRIP)
    for parts in range(1, flat.bands + 1):
        found = Expanded.of(product, builder.lanes(value.shape), flat, -(-flat.bands // parts))
        is_enough = images * found.parts * strips >= _TILES_EACH * builder.machine.members
        if is_enough and STRIP * found.row_bytes <= _MOST_BYTES:
            return found
    return None


def _whole_lines(numbers: int) -> int:
    return -(-4 * numbers // 64) * 64


def emit_expanded(
    node: Node,
    builder: Builder,
    found: Expanded,
    fields: dict[str, Field | Record],
    y: Panel,
    read: tuple[Buffer, ...],
) -> None:
    """Append the step."""
    product, strips = found.product, -(-found.product.m // STRIP)
    args: dict[str, Field | Record] = {
        "product": Record(PRODUCT, {**product.fields, "strips": 1}),
        "flat": Record(FLAT, {**fields, "in_place": 1, "whole": 0}),
        "strips": strips,
        "strip_bytes": product.strip_bytes,
        "bands": found.bands,
        "parts": found.parts,
        "row_bytes": found.row_bytes,
        "before": found.before,
        "rest": found.rest,
    }
    tiles = node[0].shape[0] * found.parts * strips
    builder.later.pop(required(node, 0))
    builder.emit(
        Layer(node.name, node.op, expand_and_slide.name, 2, product.layer.sparsity),
        expand_and_slide,
        Record(EXPANDED, {**args, "product_kernel": product.kernel, "flat_kernel": depthwise_flat}),
        tiles=tiles,
        reads=(*product.reads, *read),
        writes=y.buffers,
        tile_ns=10000.0,
        scratch=found.rest + found.scratch,
    )
