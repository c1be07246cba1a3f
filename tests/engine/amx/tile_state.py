"""The state of AMX tiles and what each tile instruction does to it, by Intel's documentation, on plain memory.

One place a thread, taken by its first `ldtilecfg` and given back by `tilerelease`:

    owner | ... | 64 bytes of configuration, as in memory | ... | tmm0 .. tmm7, each sixteen rows of 64 bytes

Bytes of a row beyond those configured, and rows beyond them, are zero at all times: products need no bounds.
Addresses are integers. Nothing here imports the product. Source of the meanings: Intel 64 and IA-32 Architectures
Software Developer's Manual, volume 2, the instructions' own pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

LONG, WORD, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_LANES, _FLOATS = ir.VectorType(WORD, 16), ir.VectorType(ir.FloatType(), 16)

ROWS, ROW_BYTES, TILE_BYTES = 16, 64, 1024
# A thread's place.
OWNER, CONFIGURATION, TILES, PLACE_BYTES = 0, 64, 256, 256 + 8 * TILE_BYTES
PLACES = 64
# Within the configuration.
_BYTES_A_ROW, _TILE_ROWS = 16, 48
# Denormal operands and results are zero, whatever the program's own mode; no exception is raised.
_FLUSH = 0x9FC0


def inner(function: Function) -> Function:
    """A function for compiled code alone."""
    return cast(Function, njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy")(function))


def operation(count: int, result: Any, emit: Callable[..., Any]) -> Callable[..., Any]:
    """An intrinsic on `count` integers."""

    def code(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        value = emit(builder, *values)
        return context.get_dummy_value() if value is None else value

    signature = result(*[types.int64] * count)
    forms: dict[int, Callable[..., Any]] = {
        0: lambda _context: (signature, code),
        1: lambda _context, _a: (signature, code),
        2: lambda _context, _a, _b: (signature, code),
        3: lambda _context, _a, _b, _c: (signature, code),
    }
    made: Callable[..., Any] = intrinsic(forms[count])
    return made


def _at(builder: ir.IRBuilder, address: Any, kind: ir.Type) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _reader(bits: int, *, signed: bool = False) -> Callable[..., Any]:
    def emit(builder: ir.IRBuilder, address: Any) -> Any:
        value = builder.load(_at(builder, address, ir.IntType(bits)), align=1)
        if bits == LONG.width:
            return value
        return builder.sext(value, LONG) if signed else builder.zext(value, LONG)

    return operation(1, types.int64, emit)


read_byte, read_short, read_long = _reader(8), _reader(16), _reader(64)
read_signed_byte, read_signed_word = _reader(8, signed=True), _reader(32, signed=True)
write_long = operation(
    2, types.void, lambda b, value, address: (b.store(value, _at(b, address, LONG), align=1), None)[1]
)
write_byte = operation(
    2,
    types.void,
    lambda b, value, address: (b.store(b.trunc(value, BYTE), _at(b, address, BYTE), align=1), None)[1],
)
copy_row = operation(
    2,
    types.void,
    lambda b, source, target: (
        b.store(b.load(_at(b, source, _LANES), align=1), _at(b, target, _LANES), align=1),
        None,
    )[1],
)
clear_row = operation(
    1,
    types.void,
    lambda b, target: (b.store(ir.Constant(_LANES, None), _at(b, target, _LANES), align=1), None)[1],
)
count_one = operation(
    1, types.int64, lambda b, address: b.atomic_rmw("add", _at(b, address, LONG), LONG(1), "seq_cst")
)
take_place = operation(
    2,
    types.boolean,
    lambda b, address, owner: b.extract_value(
        b.cmpxchg(_at(b, address, LONG), LONG(0), owner, "seq_cst", "seq_cst"), 1
    ),
)


def _splat(builder: ir.IRBuilder, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_LANES, ir.Undefined), value, WORD(0))
    return builder.shuffle_vector(
        one, ir.Constant(_LANES, ir.Undefined), ir.Constant(ir.VectorType(WORD, 16), [0] * 16)
    )


def _shift(builder: ir.IRBuilder, value: Any, left: int, right: int, *, signed: bool = False) -> Any:
    value = builder.shl(value, ir.Constant(_LANES, [left] * 16))
    move = builder.ashr if signed else builder.lshr
    return move(value, ir.Constant(_LANES, [right] * 16))


def _row_of_bytes(a_signed: bool, b_signed: bool) -> Callable[..., Any]:
    """(row of C, row of A, tile B): sums of four products of bytes in int32, which wraps."""

    def emit(b: ir.IRBuilder, c: Any, a: Any, right: Any) -> None:
        place = _at(b, c, _LANES)
        total = b.load(place, align=1)
        for quad in range(ROWS):
            weights = _splat(b, b.load(_at(b, b.add(a, LONG(4 * quad)), WORD), align=1))
            x = b.load(_at(b, b.add(right, LONG(ROW_BYTES * quad)), _LANES), align=1)
            for byte in range(4):
                left = 24 - 8 * byte
                w = _shift(b, weights, left, 24, signed=a_signed)
                total = b.add(total, b.mul(w, _shift(b, x, left, 24, signed=b_signed)))
        b.store(total, place, align=1)

    return operation(3, types.void, emit)


def _row_of_pairs(b: ir.IRBuilder, c: Any, a: Any, right: Any) -> None:
    """Sums of bfloat16 products in float32: those of even and of odd elements apart, added to C in the end."""
    function = b.module.globals.get("llvm.x86.sse.ldmxcsr") or ir.Function(
        b.module, ir.FunctionType(ir.VoidType(), [BYTE.as_pointer()]), "llvm.x86.sse.ldmxcsr"
    )
    mode = ir.GlobalVariable(b.module, WORD, b.module.get_unique_name("flush"))
    mode.linkage, mode.global_constant, mode.initializer = "internal", True, WORD(_FLUSH)
    b.call(function, [b.bitcast(mode, BYTE.as_pointer())])
    name, kind = "llvm.fma.v16f32", ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    fma = b.module.globals.get(name) or ir.Function(b.module, kind, name)

    def halves(value: Any) -> tuple[Any, Any]:
        upper = b.and_(value, ir.Constant(_LANES, [0xFFFF0000] * 16))
        return b.bitcast(_shift(b, value, 16, 0), _FLOATS), b.bitcast(upper, _FLOATS)

    sums = [ir.Constant(_FLOATS, None)] * 2
    for pair in range(ROWS):
        weights = halves(_splat(b, b.load(_at(b, b.add(a, LONG(4 * pair)), WORD), align=1)))
        x = halves(b.load(_at(b, b.add(right, LONG(ROW_BYTES * pair)), _LANES), align=1))
        sums = [b.call(fma, [w, v, total]) for w, v, total in zip(weights, x, sums, strict=True)]
    place = _at(b, c, _FLOATS)
    b.store(b.fadd(b.load(place, align=1), b.fadd(sums[0], sums[1])), place, align=1)


@inner
def _is_tile(place: int, tile: int) -> bool:
    return bool(read_byte(place + CONFIGURATION + _TILE_ROWS + tile) != 0)


@inner
def _rows(place: int, tile: int) -> int:
    rows: int = read_byte(place + CONFIGURATION + _TILE_ROWS + tile)
    return rows


@inner
def _bytes_a_row(place: int, tile: int) -> int:
    size: int = read_short(place + CONFIGURATION + _BYTES_A_ROW + 2 * tile)
    return size


def _product(row: Callable[..., Any]) -> Callable[..., bool]:
    @inner
    def multiply(place: int, c: int, a: int, b: int) -> bool:
        """C += A * B; False where the processor refuses the operands."""
        if not (_is_tile(place, c) and _is_tile(place, a) and _is_tile(place, b)):
            return False
        if c in (a, b) or a == b:
            return False
        if _rows(place, c) != _rows(place, a) or _bytes_a_row(place, c) != _bytes_a_row(place, b):
            return False
        if _bytes_a_row(place, a) != 4 * _rows(place, b) or _bytes_a_row(place, c) % 4 != 0:
            return False
        tiles = place + TILES
        for i in range(_rows(place, c)):
            at = i * ROW_BYTES
            row(tiles + c * TILE_BYTES + at, tiles + a * TILE_BYTES + at, tiles + b * TILE_BYTES)
        return True

    return multiply


# By the mandatory prefix of the encoding: none, 66, F3, F2.
multiply_uu, multiply_us = _product(_row_of_bytes(False, False)), _product(_row_of_bytes(False, True))
multiply_su, multiply_ss = _product(_row_of_bytes(True, False)), _product(_row_of_bytes(True, True))
multiply_bf16 = _product(operation(3, types.void, _row_of_pairs))


@inner
def zero_tile(place: int, tile: int) -> bool:
    """tilezero."""
    for row in range(ROWS):
        clear_row(place + TILES + tile * TILE_BYTES + row * ROW_BYTES)
    return _is_tile(place, tile)


@inner
def load_tile(place: int, tile: int, address: int, stride: int) -> bool:
    """tileloadd: as many rows and bytes as are configured, zeros beyond."""
    zero_tile(place, tile)
    size = _bytes_a_row(place, tile)
    for row in range(_rows(place, tile)):
        source, target = address + row * stride, place + TILES + tile * TILE_BYTES + row * ROW_BYTES
        if size == ROW_BYTES:
            copy_row(source, target)
        else:
            for i in range(size):
                write_byte(read_byte(source + i), target + i)
    return _is_tile(place, tile)


@inner
def store_tile(place: int, tile: int, address: int, stride: int) -> bool:
    """tilestored: as many rows and bytes as are configured."""
    for row in range(_rows(place, tile)):
        source = place + TILES + tile * TILE_BYTES + row * ROW_BYTES
        for i in range(_bytes_a_row(place, tile)):
            write_byte(read_byte(source + i), address + row * stride + i)
    return _is_tile(place, tile)


@inner
def is_configuration(address: int) -> bool:
    """Whether ldtilecfg takes these 64 bytes of palette 1."""
    if read_byte(address) != 1:
        return False
    for i in range(1, 64):
        is_used = _BYTES_A_ROW <= i < _BYTES_A_ROW + 16 or _TILE_ROWS <= i < _TILE_ROWS + 8
        if not is_used and read_byte(address + i) != 0:
            return False
    for tile in range(8):
        rows, size = read_byte(address + _TILE_ROWS + tile), read_short(address + _BYTES_A_ROW + 2 * tile)
        if rows > ROWS or size > ROW_BYTES or (rows == 0) != (size == 0):
            return False
    return True


@inner
def configure(place: int, address: int) -> None:
    """ldtilecfg: the configuration, and all tiles zero."""
    copy_row(address, place + CONFIGURATION)
    for row in range(8 * ROWS):
        clear_row(place + TILES + row * ROW_BYTES)
