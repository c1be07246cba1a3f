"""Activations of a product's epilogue, on vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import inner
from engine.kernels.products.curve import bent, load_curve
from engine.kernels.simd.arithmetic import fused_multiply_add, maximum, select, splat_f32
from engine.kernels.simd.arithmetic import minimum as lesser
from engine.kernels.simd.mathematics import gelu, gelu_tanh, hyperbolic_tangent, sigmoid, silu

# Numbers of the activations, as the epilogue's record and the lowering know them.
ACTIVATIONS = {
    "none": 0,
    "relu": 1,
    "gelu": 2,
    "gelu_tanh": 3,
    "tanh": 4,
    "sigmoid": 5,
    "silu": 6,
    "hard_swish": 7,
    "hard_sigmoid": 8,
    "leaky_relu": 9,
    "clip": 10,
    "swish": 11,
    "curve": 12,
}


@inner
def _piecewise_linear(p: Any, x: Any) -> Any:
    first, second = splat_f32(p.first_number), splat_f32(p.second_number)
    zero, one = splat_f32(np.float32(0)), splat_f32(np.float32(1))
    if p.activation == 7:
        sixth, half = splat_f32(np.float32(1 / 6)), splat_f32(np.float32(0.5))
        y = x * lesser(one, maximum(zero, fused_multiply_add(x, sixth, half)))
    elif p.activation == 8:
        y = lesser(one, maximum(zero, fused_multiply_add(x, first, second)))
    elif p.activation == 9:
        y = select(x < zero, first * x, x)
    else:
        y = lesser(second, maximum(first, x))
    return y


@inner
def activated(p: Any, x: Any) -> Any:
    """x after the activation of the program p, which names it and its two numbers."""
    if p.activation == 0:
        y = x
    elif p.activation == 1:
        y = maximum(splat_f32(np.float32(0)), x)
    elif p.activation == 2:
        y = gelu(x)
    elif p.activation == 3:
        y = gelu_tanh(x)
    elif p.activation == 4:
        y = hyperbolic_tangent(x)
    elif p.activation == 5:
        y = sigmoid(x)
    elif p.activation == 6:
        y = silu(x)
    elif p.activation == 11:
        y = x * sigmoid(splat_f32(p.first_number) * x)
    elif p.activation == 12:
        y = bent(load_curve(p.curve), splat_f32(p.first_number), x)
    else:
        y = _piecewise_linear(p, x)
    return y
