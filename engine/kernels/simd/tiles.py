"""AMX tiles: eight registers of sixteen rows of 64 bytes, and products of whole tiles.

    A (weights)            B (activations)               C[i][lane] += sum over k of A[i][k] * B[k][lane]
    row i: k 0 .. 63       row q: lane 0's k 4q .. 4q+3 | lane 1's ... | lane 15's      tdpbsud, tdpbusd: int32 sums
    row i: k 0 .. 31       row p: lane 0's k 2p, 2p+1   | ...                           tdpbf16ps, f32 sums

Every name here takes first the address of the thread's tile memory (`TILE_MEMORY` bytes on a cache line).
Real instructions keep nothing there but their configuration. Where the level lacks them the same names
are emulated, register after register in that memory: all bodies, packings and schedules can then be run
and checked on any machine. An emulated row is never offered to the chooser.

Real tiles are a thread's own and no compiler knows of them: `configure` at the head of a kernel, `release`
at its end, no call of another kernel in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.jit import active_features, active_level, inner, instruction, ir
from engine.kernels.simd.arithmetic import from_bits, fused_multiply_add, splat_f32, splat_i32
from engine.kernels.simd.dot import dot_u8s8
from engine.kernels.simd.memory import load_f32, load_i32, read_i32, store_f32, store_i32

TILE_ROWS, ROW_BYTES = 16, 64
TILE_BYTES = TILE_ROWS * ROW_BYTES
TILE_MEMORY = 8 * TILE_BYTES

_LONG, _VOID = ir.IntType(64), ir.VoidType()
Code = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class TileUnit:
    """The tile instructions a kernel is built from; addresses and strides are bytes.

    configure(memory), release(memory)    ldtilecfg of eight full tiles; tilerelease
    zero(t)(memory)                       tilezero: every byte of tile t is 0
    load(t)(memory, address, stride)      tileloadd: row i of tile t = 64 bytes at address + i * stride
    stream(t)(memory, address, stride)    tileloaddt1: the same, with a hint not to keep the lines close
    store(t)(memory, address, stride)     tilestored
    multiply(c, a, b)(memory)             tdpbsud, tdpbusd or tdpbf16ps: C += A * B
    """

    emulated: bool
    configure: Code
    release: Code
    zero: Callable[[int], Code]
    load: Callable[[int], Code]
    stream: Callable[[int], Code]
    store: Callable[[int], Code]
    multiply: Callable[[int, int, int], Code]


# -- real instructions: fixed registers in inline assembly, kept in order by their side effects
def _assembly(builder: ir.IRBuilder, text: str, clobbers: str, *operands: Any) -> None:
    constraints = ",".join([*(["r"] * len(operands)), clobbers])
    kind = ir.FunctionType(_VOID, [_LONG] * len(operands))
    builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), list(operands))


def _configuration() -> tuple[int, ...]:
    """The 64 bytes of ldtilecfg as words: palette 1, then bytes a row (u16) and rows (u8) of eight tiles."""
    raw = np.zeros(64, np.uint8)
    raw[0] = 1
    raw[16:32].view(np.uint16)[:] = ROW_BYTES
    raw[48:56] = TILE_ROWS
    return tuple(raw.view(np.int64).tolist())


def _real_configure(builder: ir.IRBuilder, memory: Any) -> None:
    for i, word in enumerate(_configuration()):
        place = builder.add(memory, ir.Constant(_LONG, 8 * i))
        builder.store(ir.Constant(_LONG, word), builder.inttoptr(place, _LONG.as_pointer()), align=8)
    _assembly(builder, "ldtilecfg ($0)", "~{memory}", memory)


def _real_zero(tile: int) -> Code:
    return instruction(
        "void", ("i64",), lambda b, _m: _assembly(b, f"tilezero %tmm{tile}", f"~{{tmm{tile}}}")
    )


def _real_load(name: str, tile: int) -> Code:
    text, clobbers = f"{name} ($0,$1), %tmm{tile}", f"~{{tmm{tile}}},~{{memory}}"
    return instruction(
        "void", ("i64",) * 3, lambda b, _m, at, stride: _assembly(b, text, clobbers, at, stride)
    )


def _real_store(tile: int) -> Code:
    text = f"tilestored %tmm{tile}, ($0,$1)"
    return instruction(
        "void", ("i64",) * 3, lambda b, _m, at, stride: _assembly(b, text, "~{memory}", at, stride)
    )


def _real_multiply(name: str) -> Callable[[int, int, int], Code]:
    def made(c: int, a: int, b: int) -> Code:
        # The assembler's order is B, A, C.
        text = f"{name} %tmm{b}, %tmm{a}, %tmm{c}"
        return instruction("void", ("i64",), lambda builder, _m: _assembly(builder, text, f"~{{tmm{c}}}"))

    return made


def _real(multiply: str) -> TileUnit:
    return TileUnit(
        emulated=False,
        configure=instruction("void", ("i64",), _real_configure),
        release=instruction("void", ("i64",), lambda b, _m: _assembly(b, "tilerelease", "~{memory}")),
        zero=_real_zero,
        load=lambda tile: _real_load("tileloadd", tile),
        stream=lambda tile: _real_load("tileloaddt1", tile),
        store=_real_store,
        multiply=_real_multiply(multiply),
    )


# -- the same in plain vectors
@inner
def _copy_rows(source: int, source_stride: int, target: int, target_stride: int) -> None:
    for row in range(TILE_ROWS):
        store_i32(load_i32(source + row * source_stride), target + row * target_stride)


@inner
def _nothing(memory: int) -> None:
    pass


def _emulated_zero(tile: int) -> Code:
    @inner
    def zero(memory: int) -> None:
        for row in range(TILE_ROWS):
            store_i32(splat_i32(0), memory + tile * TILE_BYTES + row * ROW_BYTES)

    return zero


def _emulated_load(tile: int) -> Code:
    @inner
    def load(memory: int, address: int, stride: int) -> None:
        _copy_rows(address, stride, memory + tile * TILE_BYTES, ROW_BYTES)

    return load


def _emulated_store(tile: int) -> Code:
    @inner
    def store(memory: int, address: int, stride: int) -> None:
        _copy_rows(memory + tile * TILE_BYTES, ROW_BYTES, address, stride)

    return store


def _multiply_bytes(*, a_is_signed: bool) -> Code:
    @inner
    def multiply(c: int, a: int, b: int) -> None:
        for row in range(TILE_ROWS):
            total = load_i32(c + row * ROW_BYTES)
            for quad in range(TILE_ROWS):
                w = splat_i32(read_i32(a + row * ROW_BYTES + 4 * quad))
                x = load_i32(b + quad * ROW_BYTES)
                total = dot_u8s8(total, x, w) if a_is_signed else dot_u8s8(total, w, x)
            store_i32(total, c + row * ROW_BYTES)

    return multiply


@inner
def _multiply_bf16(c: int, a: int, b: int) -> None:
    # As the instruction does: products of even and of odd k's are chains of their own, added at the end.
    # It takes numbers below the smallest normal for 0 and gives none; here they are kept.
    upper, half = splat_i32(-65536), splat_i32(16)
    for row in range(TILE_ROWS):
        even, odd = splat_f32(np.float32(0)), splat_f32(np.float32(0))
        for pair in range(TILE_ROWS):
            weights, x = splat_i32(read_i32(a + row * ROW_BYTES + 4 * pair)), load_i32(b + pair * ROW_BYTES)
            even = fused_multiply_add(from_bits(weights << half), from_bits(x << half), even)
            odd = fused_multiply_add(from_bits(weights & upper), from_bits(x & upper), odd)
        store_f32(load_f32(c + row * ROW_BYTES) + (even + odd), c + row * ROW_BYTES)


def _emulated_multiply(product: Code) -> Callable[[int, int, int], Code]:
    def made(c: int, a: int, b: int) -> Code:
        @inner
        def multiply(memory: int) -> None:
            product(memory + c * TILE_BYTES, memory + a * TILE_BYTES, memory + b * TILE_BYTES)

        return multiply

    return made


def _emulated(product: Code) -> TileUnit:
    return TileUnit(
        emulated=True,
        configure=_nothing,
        release=_nothing,
        zero=_emulated_zero,
        load=_emulated_load,
        stream=_emulated_load,
        store=_emulated_store,
        multiply=_emulated_multiply(product),
    )


def tile_unit(kind: str) -> TileUnit:
    """The tile instructions at the active level, emulated where it lacks them.

    kind   "u8s8": A int8, B uint8, C int32, exact (wraps as int32 does); "s8u8": A uint8, B int8;
           "bf16": A, B bfloat16, C float32
    """
    if kind in ("u8s8", "s8u8"):
        name = "tdpbsud" if kind == "u8s8" else "tdpbusd"
        return _real(name) if active_level().tiles else _emulated(_multiply_bytes(a_is_signed=kind == "u8s8"))
    has_bf16 = active_level().tiles and "amx-bf16" in active_features()
    return _real("tdpbf16ps") if has_bf16 else _emulated(_multiply_bf16)
