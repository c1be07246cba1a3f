"""Products of quads: four u8 by four s8 in each of sixteen lanes, added to an int32, exactly.

    quads   lane l = bytes 4l .. 4l+3
    sum[l] += u[4l]*s[4l] + u[4l+1]*s[4l+1] + u[4l+2]*s[4l+2] + u[4l+3]*s[4l+3]

vpdpbusd where the level has it. Elsewhere never vpmaddubsw, which saturates: bytes are widened to
words (even and odd ones apart) and multiplied by vpmaddwd, whose sums of two fit an int32.
"""

from __future__ import annotations

from typing import Any

from engine.jit import I32, active_level, instruction, ir
from engine.jit.instruction import call

_I32 = I32.llvm_type
_WORDS = ir.VectorType(ir.IntType(16), 32)


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


def dot_product(builder: ir.IRBuilder, total: Any, unsigned: Any, signed: Any) -> Any:
    """Emit the product of quads in the best way of the active level."""
    level = active_level().name
    if level == "avx512_vnni":
        return call(builder, "llvm.x86.avx512.vpdpbusd.512", _I32, [total, unsigned, signed])
    if level == "avx_vnni":
        return _in_parts(builder, "llvm.x86.avx512.vpdpbusd.256", 2, [total, unsigned, signed])
    u_even, u_odd = _even_odd(builder, unsigned, signed=False)
    s_even, s_odd = _even_odd(builder, signed, signed=True)
    pairs = builder.add(
        _multiply_add_words(builder, u_even, s_even), _multiply_add_words(builder, u_odd, s_odd)
    )
    return builder.add(total, pairs)


dot_u8s8 = instruction(I32, (I32, I32, I32), dot_product)
