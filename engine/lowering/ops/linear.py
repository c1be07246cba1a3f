"""linear and quantized_linear: one product step, its epilogue doing all that follows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.graph.ir import Node
from engine.kernels.block4_int8.pack import quads_of
from engine.kernels.column_blocks_f32.pack import alive_blocks
from engine.kernels.row import Array, PackedWeights, ProductShape
from engine.lowering.builder import Builder, Lowered, OpLowering
from engine.lowering.choose import Choice
from engine.lowering.ops._grouped import Groups, Weights, split
from engine.lowering.ops._images import Seen
from engine.lowering.ops._products import (
    Product,
    emit_product,
    integer_start,
    operand,
    optional,
    product_choice,
    required,
    tap_features,
    weight_matrix,
)
from engine.lowering.ops._winograd import emit_tiled, tiled
from engine.lowering.panels import STRIP_MARGIN, Panel
from engine.plan.steps import Field, Fixed, Location


def epilogue_bias(node: Node, builder: Builder, index: int, m: int) -> dict[str, Field]:
    """The epilogue's fields for the float32 bias that is input `index`."""
    bias = optional(node, index)
    if bias is None or bias.array is None:
        return {}
    return {"bias": builder.padded(bias.array, m + STRIP_MARGIN, np.float32)}


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """What lowering must know of weights before and beside their packed form.

    alive_quads   quads of four consecutive k that are not all zero; None for float32
    row_sums      int64 [m]; empty for float32
    alive_4x1     blocks of four consecutive rows at one k that are not all zero; alive_8x1: of eight;
                  None for integers, and where nothing is zero
    """

    nonzeros: int
    alive_quads: int | None
    row_sums: Array
    alive_4x1: int | None = None
    alive_8x1: int | None = None


def _facts(w: Array) -> WeightFacts:
    nonzeros = int(np.count_nonzero(w))
    fours, eights = (None, None) if nonzeros == w.size else (alive_blocks(w, 4), alive_blocks(w, 8))
    return WeightFacts(nonzeros, None, np.zeros(0, np.int64), fours, eights)


def integer_facts(w: Array) -> WeightFacts:
    """What lowering must know of int8 weights [m, k]."""
    alive = int(np.count_nonzero(quads_of(w).view(np.int32)))
    return WeightFacts(int(np.count_nonzero(w)), alive, w.sum(axis=1, dtype=np.int64))


def _linear(node: Node, builder: Builder) -> Lowered:
    weights, bias = required(node, 1).array, optional(node, 2)
    if weights is None or (bias is not None and bias.array is None):
        return "its weights or bias are not constant"
    value = required(node, 0)
    axes = node.attrs["weight_axes"]
    m, k = weight_matrix(node, weights).shape
    facts = builder.weights.lasting(
        weights, ("facts", axes), WeightFacts, lambda a: _facts(weight_matrix(node, a))
    )
    lanes, fours, eights = builder.deciding_lanes(value.shape, "f32"), facts.alive_4x1, facts.alive_8x1
    shape = ProductShape(m, k, facts.nonzeros, lanes, alive_4x1=fours, alive_8x1=eights)
    choice = product_choice(builder, "f32", shape)
    epilogue = epilogue_bias(node, builder, 2, m)
    groups = split(node, builder, Weights(weights, lambda a: weight_matrix(node, a)), shape, choice)
    tiles = tiled(node, builder, shape, choice if groups is None else groups.choice)
    if tiles is not None:
        emit_tiled(node, builder, weights, tiles, epilogue)
        return None
    if groups is not None:
        product = Product(groups.x, groups.packed, groups.choice, epilogue, optional(node, 3))
        emit_product(node, builder, replace(product, groups=groups.groups))
        return None
    x = operand(builder, value, choice.row)
    packed = builder.weights.lasting(
        weights,
        (choice.row.family, axes, *(() if x.k == k else (x.k,))),
        PackedWeights,
        lambda a: choice.row.pack(tap_features(value, x, weight_matrix(node, a))),
    )
    emit_product(node, builder, Product(x, packed, choice, epilogue, optional(node, 3)))
    return None


def signed_weights(node: Node, weights: Array) -> Array:
    """int8 weights [m, k]: the file's, less their zero point."""
    w = weight_matrix(node, weights)
    zero = int(node.attrs["weight_zero"])
    if w.dtype == np.int8 and zero == 0:
        return w
    return (w.astype(np.int16) - zero).astype(np.int8)


@dataclass(frozen=True, slots=True)
class IntegerOperands:
    """What an integer product multiplies, and the row chosen for it; row_sums: sum_k w of each row."""

    x: Panel | Seen
    packed: PackedWeights
    choice: Choice
    row_sums: Array
    groups: Groups | None = None


def integer_operands(node: Node, builder: Builder, weights: Array) -> IntegerOperands:
    """Choose the row for input 0 times these weights, and bring both into its forms."""
    axes, zero = node.attrs["weight_axes"], node.attrs["weight_zero"]
    m, k = weight_matrix(node, weights).shape
    value = required(node, 0)
    facts = builder.weights.lasting(
        weights, ("facts", axes, zero), WeightFacts, lambda a: integer_facts(signed_weights(node, a))
    )
    shape = ProductShape(m, k, facts.nonzeros, builder.deciding_lanes(value.shape, "u8"), facts.alive_quads)
    choice = product_choice(builder, "u8", shape)
    groups = split(node, builder, Weights(weights, lambda a: signed_weights(node, a)), shape, choice)
    if groups is not None:
        return IntegerOperands(groups.x, groups.packed, groups.choice, facts.row_sums, groups.groups)
    x = operand(builder, value, choice.row)
    packed = builder.weights.lasting(
        weights,
        (choice.row.family, axes, zero),
        PackedWeights,
        lambda a: choice.row.pack(signed_weights(node, a)),
    )
    return IntegerOperands(x, packed, choice, facts.row_sums)


def _quantized_linear(node: Node, builder: Builder) -> Lowered:
    arrays = [optional(node, i) for i in (1, 2, 3, 4)]
    if any(value is not None and value.array is None for value in arrays):
        return "its weights, scale or bias are not constant"
    weights, scale, integer_bias, bias = (None if value is None else value.array for value in arrays)
    if weights is None or scale is None:
        return "its weights or scale are not constant"
    operands = integer_operands(node, builder, weights)
    m, axes, zero = operands.packed.m, node.attrs["weight_axes"], node.attrs["weight_zero"]
    offset = int(node.attrs["zero_point"])
    form = ("start", axes, zero, offset, None if integer_bias is None else id(integer_bias))
    start = builder.weights.packed(
        weights, form, lambda _: integer_start(offset, operands.row_sums, integer_bias)
    )
    epilogue: dict[str, Field] = {
        "integer": 1,
        "scale": builder.padded(scale, m + STRIP_MARGIN, np.float32),
        "scale_stride": 4 if scale.size > 1 else 0,
        **epilogue_bias(node, builder, 4, m),
    }
    if node.attrs["product"] is not None:
        step, zero_point, factor = (*node.attrs["product"], node.attrs["product"][0])[:3]
        epilogue |= {
            "product_step": float(step),
            "product_zero": int(zero_point),
            "product_scale": float(factor),
        }
    if node.attrs.get("summed") is not None:
        step, zero_point = node.attrs["summed"]
        epilogue |= {"summed_step": float(step), "summed_zero": int(zero_point)}
    x, packed, choice, first = operands.x, operands.packed, operands.choice, Location(Fixed(start))
    constants = (scale, bias)
    product = Product(x, packed, choice, epilogue, optional(node, 5), first, constants, operands.groups)
    emit_product(node, builder, product)
    return None


LOWERINGS = (OpLowering("linear", _linear), OpLowering("quantized_linear", _quantized_linear))
