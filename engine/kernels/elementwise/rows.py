"""Elementwise steps on tensors as ONNX lays them out, with broadcasting; one row of the table an operation.

Elements are visited one by one: these steps see masks and shapes, not activations (those are panels).
A tile is one index of the leading axes; strides are bytes, 0 where an operand repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import Kernel, inner, kernel, record
from engine.kernels.simd.memory import (
    read_f32,
    read_i32,
    read_i64,
    read_u8,
    write_f32,
    write_i32,
    write_i64,
    write_u8,
)

MAX_RANK = 6
_OPERANDS = ("a", "b", "c", "y")

ELEMENTWISE = np.dtype(
    [
        *((operand, np.int64) for operand in _OPERANDS),
        ("count", np.int64),  # of the last axis
        ("leading", np.int64),  # address: MAX_RANK - 1 sizes, then as many strides of each operand
        *((f"{operand}_stride", np.int64) for operand in _OPERANDS),  # along the last axis
    ],
    align=True,
)
elementwise_of = record(ELEMENTWISE)

_READ = {"f32": read_f32, "i64": read_i64, "i32": read_i32, "bool": read_u8}
_WRITE = {"f32": write_f32, "i64": write_i64, "i32": write_i32, "bool": write_u8}
KINDS = {
    np.dtype(np.float32): "f32",
    np.dtype(np.int64): "i64",
    np.dtype(np.int32): "i32",
    np.dtype(np.bool_): "bool",
}


@dataclass(frozen=True, slots=True)
class Elementwise:
    """One operation: the ONNX operator, the kinds it reads and writes, and a scalar body."""

    op: str
    reads: tuple[str, ...]
    writes: str
    body: Callable[..., Any]


def _arithmetic(kind: str) -> tuple[Elementwise, ...]:
    return (
        Elementwise("Add", (kind, kind), kind, lambda a, b: a + b),
        Elementwise("Sub", (kind, kind), kind, lambda a, b: a - b),
        Elementwise("Mul", (kind, kind), kind, lambda a, b: a * b),
        Elementwise("Neg", (kind,), kind, lambda a: -a),
        Elementwise("Max", (kind, kind), kind, lambda a, b: a if a > b or a != a else b),  # noqa: PLR0124
        Elementwise("Min", (kind, kind), kind, lambda a, b: a if a < b or a != a else b),  # noqa: PLR0124
        _where(kind),
    )


def _where(kind: str) -> Elementwise:
    return Elementwise("Where", ("bool", kind, kind), kind, lambda c, a, b: a if c != 0 else b)


def _comparisons(kind: str) -> tuple[Elementwise, ...]:
    return (
        Elementwise("Equal", (kind, kind), "bool", lambda a, b: a == b),
        Elementwise("Less", (kind, kind), "bool", lambda a, b: a < b),
        Elementwise("LessOrEqual", (kind, kind), "bool", lambda a, b: a <= b),
        Elementwise("Greater", (kind, kind), "bool", lambda a, b: a > b),
        Elementwise("GreaterOrEqual", (kind, kind), "bool", lambda a, b: a >= b),
    )


def _cast(read: str, write: str) -> Elementwise:
    bodies: dict[str, Callable[..., Any]] = {
        "f32": lambda a: np.float32(a),  # noqa: PLW0108 - Numba compiles the lambda
        "i64": lambda a: np.int64(a),  # noqa: PLW0108
        "i32": lambda a: np.int64(a),  # noqa: PLW0108
        "bool": lambda a: a != 0,
    }
    return Elementwise("Cast", (read,), write, bodies[write])


ROWS = (
    *_arithmetic("f32"),
    *_arithmetic("i64"),
    *_arithmetic("i32"),
    *_comparisons("f32"),
    *_comparisons("i64"),
    *_comparisons("i32"),
    _where("bool"),
    Elementwise("Cos", ("f32",), "f32", lambda a: np.cos(a)),  # noqa: PLW0108
    Elementwise("Log", ("f32",), "f32", lambda a: np.log(a)),  # noqa: PLW0108
    Elementwise("Sin", ("f32",), "f32", lambda a: np.sin(a)),  # noqa: PLW0108
    Elementwise(
        "Softplus", ("f32",), "f32", lambda a: np.log1p(np.exp(-abs(a))) + (a if a > 0 else np.float32(0))
    ),
    Elementwise("IsNaN", ("f32",), "bool", lambda a: a != a),  # noqa: PLR0124
    Elementwise("Pow", ("f32", "f32"), "f32", lambda a, b: a**b),
    Elementwise("Div", ("f32", "f32"), "f32", lambda a, b: a / b),
    Elementwise("Not", ("bool",), "bool", lambda a: a == 0),
    Elementwise("And", ("bool", "bool"), "bool", lambda a, b: a != 0 and b != 0),
    Elementwise("Or", ("bool", "bool"), "bool", lambda a, b: a != 0 or b != 0),
    *(_cast(a, b) for a in ("f32", "i64", "i32", "bool") for b in ("f32", "i64", "i32", "bool") if a != b),
)

TABLE = {(row.op, row.reads, row.writes): row for row in ROWS}


@inner
def _address(a: Any, base: int, operand: int, index: int) -> int:
    """Where an operand's elements of this leading index begin."""
    sizes = a.leading
    strides = a.leading + 8 * (MAX_RANK - 1) * (1 + operand)
    for axis in range(MAX_RANK - 2, -1, -1):
        size = read_i64(sizes + 8 * axis)
        base += index % size * read_i64(strides + 8 * axis)
        index //= size
    return base


def elementwise_kernel(row: Elementwise) -> Kernel:
    """The kernel of one operation."""
    arity = len(row.reads)
    read = [_READ[kind] for kind in row.reads]
    read_a, read_b, read_c = (*read, *read[-1:] * 2)[:3]
    write, body = _WRITE[row.writes], inner(row.body)

    @kernel(f"{row.op.lower()}_{'_'.join(row.reads)}_to_{row.writes}")
    def apply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = elementwise_of(args)
        for index in range(tile_begin, tile_end):
            a, y = _address(e, e.a, 0, index), _address(e, e.y, 3, index)
            b = _address(e, e.b, 1, index) if arity > 1 else 0
            c = _address(e, e.c, 2, index) if arity > 2 else 0
            for i in range(e.count):
                if arity == 1:
                    value = body(read_a(a + i * e.a_stride))
                elif arity == 2:
                    value = body(read_a(a + i * e.a_stride), read_b(b + i * e.b_stride))
                else:
                    value = body(
                        read_a(a + i * e.a_stride), read_b(b + i * e.b_stride), read_c(c + i * e.c_stride)
                    )
                write(value, y + i * e.y_stride)

    return apply


KERNELS = {key: elementwise_kernel(row) for key, row in TABLE.items()}
