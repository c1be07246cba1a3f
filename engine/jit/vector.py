"""Vectors of 64 bytes as ordinary local variables of a kernel.

Whatever the machine's registers are, kernels see sixteen 32-bit lanes; LLVM splits them where registers
are narrower. `+ - * /`, comparisons and unary minus work on them; everything else is an instruction.

    F32     <16 x float>
    I32     <16 x i32>, also 64 bytes of u8 or s8: the instruction gives them their meaning
    MASK    <16 x i1>, the result of a comparison
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models, register_default
from numba.core.extending import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature

LANES = 16


class Vector(types.Type):  # type: ignore[misc]
    """A Numba type that is one LLVM value: a vector, or an array of them (a register tile)."""

    def __init__(self, name: str, llvm_type: ir.Type) -> None:
        self.llvm_type = llvm_type
        super().__init__(name=name)


@register_default(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Vector) -> None:
        super().__init__(manager, numba_type, numba_type.llvm_type)


F32 = Vector("f32x16", ir.VectorType(ir.FloatType(), LANES))
I32 = Vector("i32x16", ir.VectorType(ir.IntType(32), LANES))
MASK = Vector("mask16", ir.VectorType(ir.IntType(1), LANES))

Emit = Callable[[ir.IRBuilder, Any, Any], Any]

_ARITHMETIC: dict[Any, dict[Vector, Emit]] = {
    operator.add: {F32: ir.IRBuilder.fadd, I32: ir.IRBuilder.add},
    operator.sub: {F32: ir.IRBuilder.fsub, I32: ir.IRBuilder.sub},
    operator.mul: {F32: ir.IRBuilder.fmul, I32: ir.IRBuilder.mul},
    operator.truediv: {F32: ir.IRBuilder.fdiv},
    operator.and_: {I32: ir.IRBuilder.and_, MASK: ir.IRBuilder.and_},
    operator.or_: {I32: ir.IRBuilder.or_, MASK: ir.IRBuilder.or_},
    operator.xor: {I32: ir.IRBuilder.xor},
    operator.lshift: {I32: ir.IRBuilder.shl},
    operator.rshift: {I32: ir.IRBuilder.ashr},
}

_COMPARISONS = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "=="}


def _compare(sign: str) -> dict[Vector, Emit]:
    return {
        F32: lambda builder, a, b: builder.fcmp_ordered(sign, a, b),
        I32: lambda builder, a, b: builder.icmp_signed(sign, a, b),
    }


def _register(function: Any, rows: dict[Vector, Emit], result: Vector | None) -> None:
    class Template(ConcreteTemplate):  # type: ignore[misc]
        cases = [signature(result or row, row, row) for row in rows]  # noqa: RUF012 - Numba reads a plain list

    infer_global(function)(Template)
    for row, emit in rows.items():
        _lower(function, row, emit)


def _lower(function: Any, row: Vector, emit: Emit) -> None:
    @lower_builtin(function, row, row)  # type: ignore[untyped-decorator]
    def lowered(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
        return emit(builder, arguments[0], arguments[1])


for _function, _rows in _ARITHMETIC.items():
    _register(_function, _rows, None)
for _function, _sign in _COMPARISONS.items():
    _register(_function, _compare(_sign), MASK)
