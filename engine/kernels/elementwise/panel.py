"""Elementwise steps on f32 panels: whole rows of lanes at a time; one row of the table an operation.

The second operand is a panel, one value a row (a constant over features), a row of them for each sequence, or one value.
A tile is one row of one panel. Tensors as ONNX lays them out are one panel with rows of any length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.simd.arithmetic import absolute, maximum, minimum, select, splat_f32, square_root
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
        ("sequences", np.int64),  # where b has a row of k values for each: how many there are
        ("pitch", np.int64),  # lanes from one to the next
        ("first", np.float32),  # numbers of the operation: see NUMBERED
        ("second", np.float32),
    ],
    align=True,
)
panel_of = record(PANEL)
_SIXTH, _HALF = np.float32(1 / 6), np.float32(0.5)


@inner
def _one() -> Any:
    return splat_f32(np.float32(1))


@inner
def _zero() -> Any:
    return splat_f32(np.float32(0))


@inner
def _less_one(x: Any) -> Any:
    """exp(x) - 1 for x below 0, without the cancellation next to 0: 2 t / (1 - t) of t = tanh(x / 2)."""
    t = hyperbolic_tangent(splat_f32(_HALF) * x)
    return (t + t) / (_one() - t)


@inner
def _mish(x: Any) -> Any:
    """x * tanh(log(1 + exp(x))), whose tanh is n / (n + 2) of n = exp(x) * (exp(x) + 2). Source: Misra 2019."""
    # From 20 on the quotient is 1.
    e = exponential(minimum(x, splat_f32(np.float32(20))))
    n = e * (e + splat_f32(np.float32(2)))
    return x * (n / (n + splat_f32(np.float32(2))))


# Of two numbers, one of them NaN, maximum and minimum give the second.
UNARY: dict[str, Callable[..., Any]] = {
    "Relu": lambda x: maximum(_zero(), x),
    "Tanh": hyperbolic_tangent,
    "Sigmoid": sigmoid,
    "Erf": error_function,
    "Exp": exponential,
    "Sqrt": square_root,
    "Abs": absolute,
    "Neg": lambda x: splat_f32(np.float32(-1)) * x,
    "Reciprocal": lambda x: splat_f32(np.float32(1)) / x,
    "Square": lambda x: x * x,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "HardSwish": lambda x: (
        x * minimum(_one(), maximum(_zero(), x * splat_f32(np.float32(1 / 6)) + splat_f32(np.float32(0.5))))
    ),
    "Mish": _mish,
    "Softsign": lambda x: x / (_one() + absolute(x)),
}
# Operations with numbers beside the operand: the attributes' names, and a body of x and up to two of them.
NUMBERED: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "Celu": (
        ("alpha",),
        lambda x, a, _: maximum(_zero(), x) + minimum(_zero(), a * _less_one(minimum(x, _zero()) / a)),
    ),
    "Elu": (("alpha",), lambda x, a, _: select(x < _zero(), a * _less_one(minimum(x, _zero())), x)),
    "HardSigmoid": (("alpha", "beta"), lambda x, a, b: minimum(_one(), maximum(_zero(), a * x + b))),
    "LeakyRelu": (("alpha",), lambda x, a, _: select(x < _zero(), a * x, x)),
    "Selu": (
        ("alpha", "gamma"),
        lambda x, a, g: g * select(x < _zero(), a * _less_one(minimum(x, _zero())), x),
    ),
    "Swish": (("alpha",), lambda x, a, _: x * sigmoid(a * x)),
    "ThresholdedRelu": (("alpha",), lambda x, a, _: select(a < x, x, _zero())),
}
BINARY: dict[str, Callable[..., Any]] = {
    "Add": lambda x, y: x + y,
    "Sub": lambda x, y: x - y,
    "Mul": lambda x, y: x * y,
    "Div": lambda x, y: x / y,
    "Max": lambda x, y: select(x == x, maximum(x, y), x),  # noqa: PLR0124
    "Min": lambda x, y: select(x == x, minimum(x, y), x),  # noqa: PLR0124
    "PRelu": lambda x, y: select(x < _zero(), y * x, x),
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


def _numbered_kernel(op: str) -> Kernel:
    body = inner(NUMBERED[op][1])

    @kernel(f"panel_{op.lower()}_f32")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = panel_of(args)
        first, second = splat_f32(e.first), splat_f32(e.second)
        for index in range(tile_begin, tile_end):
            panel = index // e.k
            row = (index - panel * e.k) * e.row_bytes
            a, y = e.a + panel * e.a_panel + row, e.y + panel * e.y_panel + row
            for lane in range(0, e.row_bytes, 64):
                store_f32(body(load_f32(a + lane), first, second), y + lane)

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


def _sequence_kernel(op: str) -> Kernel:
    """The second operand has a row for each sequence: a gate for the channels of each image."""
    body = _compiled(BINARY[op])

    @kernel(f"panel_{op.lower()}_sequence_f32")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = panel_of(args)
        for index in range(tile_begin, tile_end):
            panel = index // e.k
            row = index - panel * e.k
            a, y = e.a + panel * e.a_panel + row * e.row_bytes, e.y + panel * e.y_panel + row * e.row_bytes
            first = panel * (e.row_bytes // 4)
            sequence = first // e.pitch
            # Bytes to the next sequence's first lane. Behind the last sequence lie lanes that nobody reads.
            end, b = 4 * ((sequence + 1) * e.pitch - first), e.b + 4 * (sequence * e.k + row)
            for lane in range(0, e.row_bytes, 64):
                if lane == end and sequence + 1 < e.sequences:
                    sequence, end, b = sequence + 1, end + 4 * e.pitch, b + 4 * e.k
                store_f32(body(load_f32(a + lane), splat_f32(read_f32(b))), y + lane)

    return apply


UNARY_KERNELS = {op: _unary_kernel(op) for op in UNARY} | {op: _numbered_kernel(op) for op in NUMBERED}
BINARY_KERNELS = {
    **{(op, form): _binary_kernel(op, form) for op in BINARY for form in ("panel", "row", "reversed")},
    **{(op, "sequence"): _sequence_kernel(op) for op in ("Add", "Sub", "Mul", "Div")},
}
