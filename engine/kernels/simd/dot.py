"""Products of quads: four u8 by four s8 in each of sixteen lanes, added to an int32, exactly.

    quads   lane l = bytes 4l .. 4l+3
    sum[l] += u[4l]*s[4l] + u[4l+1]*s[4l+1] + u[4l+2]*s[4l+2] + u[4l+3]*s[4l+3]

vpdpbusd where the level has it, usdot on NEON with i8mm. With sdot alone u * s = (u - 128) * s + 128 * s,
and u - 128 is u with its highest bit turned. Elsewhere never vpmaddubsw, which saturates: bytes are widened
to words (even and odd ones apart) and multiplied by vpmaddwd, whose sums of two fit an int32.
"""

from __future__ import annotations

from typing import Any

from engine.jit import I32, active_features, active_level, instruction, ir
from engine.jit.instruction import call

_I32 = I32.llvm_type
_WORDS = ir.VectorType(ir.IntType(16), 32)
_BYTES = ir.VectorType(ir.IntType(8), 64)


def _halves(builder: ir.IRBuilder, value: Any, parts: int) -> list[Any]:
    width = value.type.count // parts
    undefined = ir.Constant(value.type, ir.Undefined)
    index = ir.VectorType(ir.IntType(32), width)
    return [
        builder.shuffle_vector(value, undefined, ir.Constant(index, list(range(p * width, (p + 1) * width))))
        for p in range(parts)
    ]


def _joined(builder: ir.IRBuilder, parts: list[Any]) -> Any:
    while len(parts) > 1:
        count = 2 * parts[0].type.count
        index = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count)))
        parts = [builder.shuffle_vector(a, b, index) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _in_parts(builder: ir.IRBuilder, name: str, parts: int, operands: list[Any]) -> Any:
    """The instruction on each part of its operands, with `parts` parts of a 64-byte vector."""
    split = [_halves(builder, operand, parts) for operand in operands]
    result = ir.VectorType(ir.IntType(32), 16 // parts)
    return _joined(builder, [call(builder, name, result, [s[p] for s in split]) for p in range(parts)])


def _bytes(value: int) -> ir.Constant:
    return ir.Constant(_BYTES, [value] * 64)


def _words(value: int) -> ir.Constant:
    return ir.Constant(_WORDS, [value] * 32)


def _even_odd(builder: ir.IRBuilder, quads: Any, *, signed: bool) -> tuple[Any, Any]:
    words = builder.bitcast(quads, _WORDS)
    if signed:
        return builder.ashr(builder.shl(words, _words(8)), _words(8)), builder.ashr(words, _words(8))
    return builder.and_(words, _words(255)), builder.lshr(words, _words(8))


def _multiply_add_words(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    level = active_level().name
    if level == "avx512":
        return call(builder, "llvm.x86.avx512.pmaddw.d.512", _I32, [a, b])
    if level == "avx2":
        return _in_parts(builder, "llvm.x86.avx2.pmadd.wd", 2, [a, b])
    return _multiply_add_plainly(builder, a, b)


def _multiply_add_plainly(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    wide = ir.VectorType(ir.IntType(32), 32)
    product = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    undefined = ir.Constant(wide, ir.Undefined)
    index = ir.VectorType(ir.IntType(32), 16)
    even = builder.shuffle_vector(product, undefined, ir.Constant(index, list(range(0, 32, 2))))
    odd = builder.shuffle_vector(product, undefined, ir.Constant(index, list(range(1, 32, 2))))
    return builder.add(even, odd)


def _neon_dot(builder: ir.IRBuilder, name: str, total: Any, a: Any, b: Any) -> Any:
    """A dot instruction on registers of sixteen bytes, four for a vector."""
    group = ir.VectorType(ir.IntType(32), 4)
    split = [_halves(builder, total, 4), *(_halves(builder, builder.bitcast(x, _BYTES), 4) for x in (a, b))]
    name = f"llvm.aarch64.neon.{name}.v4i32.v16i8"
    return _joined(builder, [call(builder, name, group, list(part)) for part in zip(*split, strict=True)])


def _neon_dot_product(builder: ir.IRBuilder, total: Any, unsigned: Any, signed: Any) -> Any:
    if "i8mm" in active_features():
        return _neon_dot(builder, "usdot", total, unsigned, signed)
    turned = builder.xor(builder.bitcast(unsigned, _BYTES), _bytes(128))
    total = _neon_dot(builder, "sdot", total, turned, signed)
    weights = _neon_dot(builder, "sdot", ir.Constant(_I32, [0] * 16), _bytes(1), signed)
    return builder.add(total, builder.shl(weights, ir.Constant(_I32, [7] * 16)))


def dot_product(builder: ir.IRBuilder, total: Any, unsigned: Any, signed: Any) -> Any:
    """Emit the product of quads in the best way of the active level."""
    level = active_level()
    if level.int8_dot and level.arch == "arm64":
        return _neon_dot_product(builder, total, unsigned, signed)
    if level.int8_dot and level.width == 64:
        return call(builder, "llvm.x86.avx512.vpdpbusd.512", _I32, [total, unsigned, signed])
    if level.int8_dot:
        return _in_parts(builder, "llvm.x86.avx512.vpdpbusd.256", 2, [total, unsigned, signed])
    u_even, u_odd = _even_odd(builder, unsigned, signed=False)
    s_even, s_odd = _even_odd(builder, signed, signed=True)
    pairs = builder.add(
        _multiply_add_words(builder, u_even, s_even), _multiply_add_words(builder, u_odd, s_odd)
    )
    return builder.add(total, pairs)


dot_u8s8 = instruction(I32, (I32, I32, I32), dot_product)
