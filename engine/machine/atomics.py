"""Words that several threads read and write: atomic 64-bit operations on addresses, in sequential order if not said else."""

from __future__ import annotations

from typing import Any

from engine.jit import instruction, ir

_LONG = ir.IntType(64)


def _pointer(builder: ir.IRBuilder, address: Any) -> Any:
    return builder.inttoptr(address, _LONG.as_pointer())


def _exchange(builder: ir.IRBuilder, address: Any, expected: Any, wanted: Any) -> Any:
    pair = builder.cmpxchg(_pointer(builder, address), expected, wanted, "seq_cst", "seq_cst")
    return builder.zext(builder.extract_value(pair, 1), _LONG)


def _relax(builder: ir.IRBuilder) -> None:
    pause = {"x86_64": "pause", "aarch64": "yield", "arm64": "yield"}.get(
        builder.module.triple.split("-")[0], ""
    )
    builder.call(ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), pause, "~{memory}", side_effect=True), [])


load_word = instruction("i64", ("i64",), lambda b, a: b.load_atomic(_pointer(b, a), "seq_cst", 8))
store_word = instruction(
    "void", ("i64", "i64"), lambda b, v, a: (b.store_atomic(v, _pointer(b, a), "seq_cst", 8), None)[1]
)
# The same without waiting for it to be seen: who sees it sees all that was written before.
publish_word = instruction(
    "void", ("i64", "i64"), lambda b, v, a: (b.store_atomic(v, _pointer(b, a), "release", 8), None)[1]
)
add_word = instruction(
    "i64", ("i64", "i64"), lambda b, a, n: b.atomic_rmw("add", _pointer(b, a), n, "seq_cst")
)
# 1 when the word held `expected` and now holds `wanted`, else 0.
exchange_word = instruction("i64", ("i64", "i64", "i64"), _exchange)
# A hint that this thread is spinning.
relax = instruction("void", (), _relax)
