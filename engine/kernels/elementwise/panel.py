"""Elementwise steps on f32 panels: whole rows of lanes at a time; one row of the table an operation.

The second operand is a panel, one value a row (a constant over features), or one value.
A tile is one row of one panel. Tensors as ONNX lays them out are one panel with rows of any length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.simd.arithmetic import absolute, maximum, minimum, splat_f32, square_root
from engine.kernels.simd.mathematics import (
    error_function,
    exponential,
    gelu,
    gelu_tanh,
    hyperbolic_tangent,
    sigmoid,
)
from engine.kernels.simd.memory import load_f32, read_f32, store_f32

PANEL = np.dtype(
    [
        *((name, np.int64) for name in ("a", "a_panel", "b", "b_panel", "y", "y_panel", "k", "row_bytes")),
        ("b_row", np.int64),  # bytes from b's value of one row to the next's, where b is not a panel
    ],
    align=True,
)
panel_of = record(PANEL)

UNARY: dict[str, Callable[..., Any]] = {
    "Relu": lambda x: maximum(x, splat_f32(np.float32(0))),
    "Tanh": hyperbolic_tangent,
    "Sigmoid": sigmoid,
    "Erf": error_function,
    "Exp": exponential,
    "Sqrt": square_root,
    "Abs": absolute,
    "Neg": lambda x: splat_f32(np.float32(-1)) * x,
    "Reciprocal": lambda x: splat_f32(np.float32(1)) / x,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "HardSwish": lambda x: (
        x
        * minimum(
            maximum(x * splat_f32(np.float32(1 / 6)) + splat_f32(np.float32(0.5)), splat_f32(np.float32(0))),
            splat_f32(np.float32(1)),
        )
    ),
    "Swish": lambda x: x * sigmoid(x),
}
BINARY: dict[str, Callable[..., Any]] = {
    "Add": lambda x, y: x + y,
    "Sub": lambda x, y: x - y,
    "Mul": lambda x, y: x * y,
    "Div": lambda x, y: x / y,
    "Max": maximum,
    "Min": minimum,
}


def _compiled(body: Callable[..., Any]) -> Callable[..., Any]:
    return inner(body) if getattr(body, "__name__", "") == "<lambda>" else body


def _unary_kernel(op: str) -> Kernel:
    body = _compiled(UNARY[op])

    @kernel(f"panel_{op.lower()}_f32")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = panel_of(args)
        for index in range(tile_begin, tile_end):
            panel = index // e.k
            row = (index - panel * e.k) * e.row_bytes
            a, y = e.a + panel * e.a_panel + row, e.y + panel * e.y_panel + row
            for lane in range(0, e.row_bytes, 64):
                store_f32(body(load_f32(a + lane)), y + lane)

    return apply


def _binary_kernel(op: str, form: str) -> Kernel:
    """form   what the second operand is: "panel", or "row" for a value a row; "reversed" swaps the two of "row"."""
    body = _compiled(BINARY[op])

    @kernel(f"panel_{op.lower()}_{form}_f32")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = panel_of(args)
        for index in range(tile_begin, tile_end):
            panel = index // e.k
            row = index - panel * e.k
            a, y = e.a + panel * e.a_panel + row * e.row_bytes, e.y + panel * e.y_panel + row * e.row_bytes
            b = e.b + panel * e.b_panel + row * e.row_bytes
            for lane in range(0, e.row_bytes, 64):
                if form == "panel":
                    value = body(load_f32(a + lane), load_f32(b + lane))
                elif form == "row":
                    value = body(load_f32(a + lane), splat_f32(read_f32(e.b + row * e.b_row)))
                else:
                    value = body(splat_f32(read_f32(e.b + row * e.b_row)), load_f32(a + lane))
                store_f32(value, y + lane)

    return apply


UNARY_KERNELS = {op: _unary_kernel(op) for op in UNARY}
BINARY_KERNELS = {
    (op, form): _binary_kernel(op, form) for op in BINARY for form in ("panel", "row", "reversed")
}
