"""weight_only_linear: the row is chosen among those of few bits and, on dequantised weights, those of float32."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from engine.graph.ir import Node
from engine.kernels.column_blocks_f32.pack import alive_blocks
from engine.kernels.row import Array, PackedWeights, ProductShape
from engine.kernels.weight_only.pack import FewBits, bits_of
from engine.lowering.builder import Builder, Lowered, OpLowering
from engine.lowering.ops._products import (
    Product,
    emit_product,
    optional,
    product_choice,
    required,
    weight_matrix,
)
from engine.lowering.ops.linear import epilogue_bias


@dataclass(frozen=True, slots=True)
class FewBitsFacts:
    """What lowering must know of weights of few bits before they are packed.

    weights     kept, as their parts' identities are part of a key
    bits        that their numbers need
    alive_4x1   blocks of four consecutive rows at one k that are not all zero; alive_8x1: of eight
    digest      of scales and zero points
    """

    weights: FewBits
    bits: int
    nonzeros: int
    alive_4x1: int | None
    alive_8x1: int | None
    digest: str


def _facts(w: FewBits) -> FewBitsFacts:
    digest = hashlib.blake2b(w.scale.tobytes(), digest_size=16)
    digest.update(w.zero.tobytes())
    alive = w.alive()
    nonzeros = int(np.count_nonzero(alive))
    fours, eights = (
        (None, None) if nonzeros == alive.size else (alive_blocks(alive, 4), alive_blocks(alive, 8))
    )
    return FewBitsFacts(w, bits_of(w), nonzeros, fours, eights, digest.hexdigest())


def _weight_only_linear(node: Node, builder: Builder) -> Lowered:
    arrays = [required(node, index).array for index in (1, 2, 3)]
    bias = optional(node, 4)
    numbers, scale, zero = arrays
    if numbers is None or scale is None or zero is None or (bias is not None and bias.array is None):
        return "its weights, scales or bias are not constant"
    axes, block = node.attrs["weight_axes"], node.attrs["block"]
    facts = builder.weights.packed(
        numbers,
        ("few bits", axes, block, id(scale), id(zero)),
        lambda array: _facts(FewBits(weight_matrix(node, array), scale, zero, block)),
    )
    weights, value = facts.weights, required(node, 0)
    m, k = weights.numbers.shape
    lanes, fours, eights = builder.deciding_lanes(value.shape, "w8"), facts.alive_4x1, facts.alive_8x1
    shape = ProductShape(m, k, facts.nonzeros, lanes, alive_4x1=fours, alive_8x1=eights, block=block)
    choice = product_choice(builder, f"w{facts.bits}", shape)
    row, x = choice.row, builder.form(value, choice.row.reads)

    def pack(_array: Array) -> PackedWeights:
        return row.pack(weights.dequantised() if row.operand == "f32" else weights)

    # Both rows of so many bits read the same packed weights.
    packing = row.family if row.operand == "f32" else row.operand
    packed = builder.weights.lasting(
        numbers, (packing, "few bits", axes, block, facts.digest), PackedWeights, pack
    )
    emit_product(
        node, builder, Product(x, packed, choice, epilogue_bias(node, builder, 4, m), optional(node, 5))
    )
    return None


LOWERINGS = (OpLowering("weight_only_linear", _weight_only_linear),)
