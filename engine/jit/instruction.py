"""One intrinsic per machine instruction, declared with its types and the LLVM it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

SCALARS = {"i64": types.int64, "f32": types.float32, "i32": types.int32, "void": types.void}

Emit = Callable[..., Any]


def _numba_type(kind: Any) -> Any:
    return SCALARS[kind] if isinstance(kind, str) else kind


def instruction(result: Any, arguments: tuple[Any, ...], emit: Emit) -> Callable[..., Any]:
    """An intrinsic of fixed signature whose LLVM is `emit(builder, *values)`.

    result, arguments   "i64", "f32", "i32", "void", or a vector type of `engine.jit.vector`
    emit                returns the LLVM value, or None for "void"
    """
    signature = _numba_type(result)(*map(_numba_type, arguments))

    def code(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        value = emit(builder, *values)
        return context.get_dummy_value() if value is None else value

    return _of_arity(len(arguments), signature, code)


def _of_arity(count: int, signature: Any, code: Any) -> Callable[..., Any]:
    """Numba reads an intrinsic's arity from its Python signature, so it is written out."""
    names = ", ".join(f"argument_{i}" for i in range(count))
    namespace = {"answer": (signature, code)}
    exec(f"def typed(typing_context, {names}):\n    return answer\n", namespace)  # noqa: S102 - fixed text
    made: Callable[..., Any] = intrinsic(namespace["typed"])
    return made


def record(dtype: np.dtype[Any]) -> Callable[..., Any]:
    """An instruction that reads an address (i64) as a record of this dtype, with its fields as attributes."""
    numba_record = from_dtype(dtype)

    def emit(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(numba_record))

    return _of_arity(1, numba_record(types.int64), emit)


def call(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic or an external function by name."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments)


def call_by_address(arguments: int) -> Callable[..., Any]:
    """An instruction (address, arguments ...), all i64: call the C function of no result that is there."""

    def emit(builder: ir.IRBuilder, address: Any, *values: Any) -> None:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * arguments)
        builder.call(builder.inttoptr(address, ir.PointerType(kind)), values)

    return instruction("void", ("i64",) * (1 + arguments), emit)
