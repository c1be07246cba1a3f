"""Every byte of a panel of u8 quads replaced by its entry in a table: sixteen lanes a tile.

A byte knows no lane and no feature, so the table is applied to quads as they lie. Two vpermi2b look up 64 bytes
in both halves of the table, where the CPU has them; elsewhere bytes are looked up one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.jit import I32, active_features, active_level, instruction, ir, kernel, record
from engine.jit.instruction import call
from engine.kernels.simd.memory import load_i32, read_u8, store_i32, write_u8

BYTE_TABLE = np.dtype(
    [(name, np.int64) for name in ("x", "x_panel", "y", "y_panel", "quads", "row_bytes", "table")], align=True
)
byte_table_of = record(BYTE_TABLE)
HAS_PERMUTE = active_level().width == 64 and "avx512vbmi" in active_features()

_BYTES = ir.VectorType(ir.IntType(8), 64)


def _look_up(builder: ir.IRBuilder, quads: Any, *table: Any) -> Any:
    index, *quarters = (builder.bitcast(value, _BYTES) for value in (quads, *table))
    halves = [
        call(builder, "llvm.x86.avx512.vpermi2var.qi.512", _BYTES, [first, index, second])
        for first, second in (quarters[:2], quarters[2:])
    ]
    is_upper = builder.icmp_signed("<", index, ir.Constant(_BYTES, [0] * 64))
    return builder.bitcast(builder.select(is_upper, halves[1], halves[0]), I32.llvm_type)


_look_up_64 = instruction(I32, (I32,) * 5, _look_up)


@kernel("byte_table_u8", "1x16")
def map_bytes(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
    """Sixteen lanes a tile."""
    a = byte_table_of(args)
    vectors = a.row_bytes // 64
    t0, t1 = load_i32(a.table), load_i32(a.table + 64)
    t2, t3 = load_i32(a.table + 128), load_i32(a.table + 192)
    for index in range(tile_begin, tile_end):
        panel = index // vectors
        lane = (index - panel * vectors) * 64
        x, y = a.x + panel * a.x_panel + lane, a.y + panel * a.y_panel + lane
        for _ in range(a.quads):
            if HAS_PERMUTE:
                store_i32(_look_up_64(load_i32(x), t0, t1, t2, t3), y)
            else:
                for byte in range(64):
                    write_u8(read_u8(a.table + read_u8(x + byte)), y + byte)
            x += a.row_bytes
            y += a.row_bytes
