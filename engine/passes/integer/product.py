"""Products of quantised activations and weights.

    xq ── DequantizeLinear ── MatMul ── y            xq ── quantized_linear(w, scale = s * sw) ── y
    W i8 ── DequantizeLinear ──┘             =>

    xq ── MatMulInteger(W) ── Add(b i32)? ── Cast ── Mul(s) ── y   =>   xq ── quantized_linear(W, s, b) ── y

Gemm alike; its bias stays an integer where its scale is that of the sums. Sums are exact either way.
"""

from __future__ import annotations

import numpy as np

from engine.graph import Array, Node, Uses, Value, constant, node, rule
from engine.graph.pattern import either_way, first_input, is_op, operands, row_constant
from engine.passes.quantisation import dequantised
from engine.passes.weights import QuantisedMatrix, byte_matrix, quantised_matrix

# A bias and a sum of 8-bit products must not leave 32 bits together.
LARGEST_BIAS = 1 << 30
# Products of integers, and the place of their integer bias.
BIASED = {"quantized_linear": 3, "quantized_depthwise": 3}


def _quantized_linear(
    source: tuple[Value, int],
    weights: QuantisedMatrix,
    scale: Array,
    biases: tuple[Value | None, Value | None],
    name: str,
    store: tuple[str, np.float32, int] | None = None,
) -> Value:
    attrs = {
        "weight_axes": weights.axes,
        "weight_zero": weights.zero_point,
        "zero_point": source[1],
        "product": None,
        "activation": "none",
        "store": store,
    }
    factors = constant(scale, name)
    if weights.rest is None:
        operands = (source[0], weights.value, factors, *biases)
        return node("quantized_linear", *operands, name=name, **attrs)[0]
    plain = {**attrs, "store": None}
    near = node("quantized_linear", source[0], weights.value, factors, name=name, **plain)[0]
    operands = (source[0], weights.rest, factors, *biases)
    return node("quantized_linear", *operands, near, name=name, **attrs)[0]


@rule("MatMul")
def dequantised_product(product: Node, _uses: Uses) -> Value | None:
    """Multiply integers where both operands are dequantised, the second from a constant."""
    x, w = operands(product)
    found, weights = dequantised(x), quantised_matrix(w)
    if found is None or weights is None:
        return None
    scale = (found.quantisation.scale * weights.scale).astype(np.float32)
    return _quantized_linear(
        (found.source, found.quantisation.zero_point), weights, scale, (None, None), product.name
    )


@rule("Gemm")
def dequantised_gemm(gemm: Node, _uses: Uses) -> Value | None:
    """The same for Gemm, with its bias."""
    attrs = gemm.attrs
    x, w = first_input(gemm[0]), gemm.inputs[1]
    found = dequantised(x)
    if found is None or w is None or attrs["transA"] or attrs["alpha"] != 1:
        return None
    weights = quantised_matrix(w, transposed=bool(attrs["transB"]))
    if weights is None:
        return None
    scale = (found.quantisation.scale * weights.scale).astype(np.float32)
    biases = _gemm_biases(gemm, scale, weights.outputs)
    if biases is None:
        return None
    return _quantized_linear((found.source, found.quantisation.zero_point), weights, scale, biases, gemm.name)


def _gemm_biases(gemm: Node, scale: Array, outputs: int) -> tuple[Value | None, Value | None] | None:
    """Gemm's third operand as bias_i32 or f32 bias; None where it is neither."""
    bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    if bias is None:
        return None, None
    if gemm.attrs["beta"] != 1:
        return None
    if is_op(bias, "DequantizeLinear"):
        whole = _integer_bias(bias.node, scale, outputs)
        return None if whole is None else (constant(whole, bias.node.name), None)
    row = row_constant(bias, outputs)
    return None if row is None else (None, constant(row, bias.node.name))


def _integer_bias(step: Node, scale: Array, outputs: int) -> Array | None:
    """The int32 numbers of a dequantised bias, if they are on the scale of the sums."""
    arrays = [None if value is None else value.array for value in step.inputs]
    whole, own = arrays[0], arrays[1]
    if whole is None or own is None or whole.dtype != np.int32 or whole.shape != (outputs,):
        return None
    if len(arrays) > 2 and (arrays[2] is None or np.any(arrays[2])):
        return None
    # The writer multiplied the same two scales, maybe in another precision: one unit in the last place.
    same = np.allclose(own.reshape(-1), scale, rtol=2**-22, atol=0.0)
    return whole if same and not np.any(np.abs(whole.astype(np.int64)) > LARGEST_BIAS) else None


@rule("Add")
def integer_bias(add: Node, uses: Uses) -> Value | None:
    """A bias of int32 on the scale of the sums is added to them, before anything is rounded."""
    for product, bias in either_way(add):
        if product.op not in BIASED or not is_op(bias, "DequantizeLinear") or uses[product] != 1:
            continue
        attrs, inputs = product.node.attrs, product.node.inputs
        if len(inputs) > BIASED[product.op] or attrs["store"] is not None or attrs["activation"] != "none":
            continue
        scale = inputs[2]
        if scale is None or scale.array is None or product.type != add.types[0]:
            continue
        whole = _integer_bias(bias.node, scale.array, product.shape[-1])
        if whole is not None:
            own = constant(whole, bias.node.name)
            return node(product.op, *inputs[:3], own, name=product.node.name, **attrs)[0]
    return None


@rule("Mul")
def rescaled_product(mul: Node, uses: Uses) -> Value | None:
    """Take Cast and Mul behind an integer product into its epilogue, with the integer bias between them."""
    for cast, scale in either_way(mul):
        if is_op(cast, "Cast") and cast.dtype == np.float32 and uses[cast] == 1:
            return _rescaled(mul, first_input(cast), scale, uses)
    return None


def _rescaled(mul: Node, sums: Value, scale: Value, uses: Uses) -> Value | None:
    product, bias = _without_bias(sums, uses)
    if not is_op(product, "MatMulInteger") or uses[product] != 1 or uses[sums] != 1:
        return None
    weights, source = _integer_operands(product.node)
    if weights is None or source is None or product.type.shape is None:
        return None
    if product.shape != mul.types[0].shape:
        return None
    outputs = weights.outputs
    row = row_constant(scale, outputs)
    whole = None if bias is None else _integer_row(bias, outputs)
    if row is None or scale.array is None or (bias is not None and whole is None):
        return None
    factors = scale.array.reshape(1) if scale.array.size == 1 else row
    biases = (None if whole is None else constant(whole, mul.name), None)
    return _quantized_linear(source, weights, factors, biases, mul.name)


def _without_bias(sums: Value, uses: Uses) -> tuple[Value, Value | None]:
    if is_op(sums, "Add"):
        for product, bias in either_way(sums.node):
            if bias.array is not None and uses[product] == 1:
                return product, bias
    return sums, None


def _integer_operands(product: Node) -> tuple[QuantisedMatrix | None, tuple[Value, int] | None]:
    x, w, *zeros = product.inputs
    x_zero, w_zero = ([*zeros, None, None])[:2]
    if x is None or w is None or w.array is None or w.array.ndim != 2 or x.dtype != np.uint8:
        return None, None
    for zero in (x_zero, w_zero):
        if zero is not None and zero.array is None:
            return None, None
    offsets = np.zeros(1, np.int32) if x_zero is None or x_zero.array is None else x_zero.array.reshape(-1)
    weights = byte_matrix(w, "km", None if w_zero is None else w_zero.array, np.ones(1, np.float32))
    return (None, None) if offsets.size != 1 or weights is None else (weights, (x, int(offsets[0])))


def _integer_row(bias: Value, outputs: int) -> Array | None:
    array = bias.array
    if array is None or array.dtype != np.int32 or array.size not in (1, outputs) or array.ndim == 0:
        return None
    if array.size == outputs and array.shape[-1] != outputs:
        return None
    return (
        array.reshape(-1) if array.size == outputs else np.broadcast_to(array.reshape(()), (outputs,)).copy()
    )


@rule("QLinearMatMul")
def requantised_product(product: Node, _uses: Uses) -> Value | None:
    """A product of uint8 to uint8 in one node.

        xq ── QLinearMatMul(W) ── y    =>    xq ── quantized_linear(W, sx * sw / sy, store = (1, zy)) ── y

    The operator multiplies by one factor and rounds; dividing by a scale of 1 afterwards changes nothing.
    """
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (
        None if value is None else value.array for value in product.inputs
    )
    source, matrix = product.inputs[0], product.inputs[3]
    single = (x_scale, x_zero, y_scale, y_zero)
    if x is not None or w is None or w_scale is None or source is None or matrix is None:
        return None
    if any(array is None or array.size != 1 for array in single) or source.dtype != np.uint8 or w.ndim != 2:
        return None
    weights = byte_matrix(matrix, "km", w_zero, w_scale.reshape(-1))
    if weights is None or product.types[0].dtype != np.uint8:
        return None
    factors = (
        np.asarray(x_scale, np.float32).reshape(1) * w_scale.reshape(-1) / np.asarray(y_scale).reshape(1)
    )
    store = ("quantized", np.float32(1), int(np.asarray(y_zero).reshape(())))
    operand = (source, int(np.asarray(x_zero).reshape(())))
    return _quantized_linear(operand, weights, factors.astype(np.float32), (None, None), product.name, store)


RULES = (dequantised_product, dequantised_gemm, integer_bias, rescaled_product, requantised_product)
