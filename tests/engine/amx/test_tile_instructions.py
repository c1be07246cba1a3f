"""Every tile instruction against its documentation, as machine code: by a CPU with AMX, or by traps in its place."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.jit import instruction, ir, kernel, record
from engine.kernels.row import aligned

pytestmark = pytest.mark.isa("amx")

Array = NDArray[Any]
SOURCE = np.random.default_rng(0)
_OPERANDS = 8
ARGS = np.dtype([(f"o{i}", np.int64) for i in range(_OPERANDS)])
args_of = record(ARGS)
TMM = 0x5A


def run(text: str, *operands: Array | int) -> None:
    """Assembly with operands {0}, {1} ... in registers: addresses of arrays, or whole numbers."""
    import ctypes

    places = {str(i): f"${i}" for i in range(_OPERANDS)}
    body = text
    for name, place in places.items():
        body = body.replace("{" + name + "}", place)
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * _OPERANDS)
    constraints = ",".join([*["r"] * _OPERANDS, "~{memory}"])
    code = ir.InlineAsm(kind, body, constraints, side_effect=True)
    execute = instruction(
        "void", ("i64",) * _OPERANDS, lambda b, *values: (b.call(code, list(values)), None)[1]
    )

    @kernel(f"test_amx_{hashlib.blake2b(body.encode(), digest_size=8).hexdigest()}")
    def program(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        e = args_of(args)
        execute(e.o0, e.o1, e.o2, e.o3, e.o4, e.o5, e.o6, e.o7)

    args = np.zeros(1, ARGS)
    for i, operand in enumerate(operands):
        args[f"o{i}"] = operand if isinstance(operand, int) else operand.ctypes.data
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(program.address)(args.ctypes.data, 0, 1, 0)


def configuration(**tiles: tuple[int, int]) -> Array:
    """64 bytes for ldtilecfg; tiles by name (t0 .. t7) as (rows, bytes a row), the others whole."""
    config = aligned(64, np.uint8)
    config[0] = 1
    for i in range(8):
        rows, size = tiles.get(f"t{i}", (16, 64))
        config[48 + i], config[16 + 2 * i] = rows, size
    return config


def tile(rows: int, size: int, dtype: Any = np.uint8) -> Array:
    """Random rows within sixteen rows of 64 bytes of junk."""
    whole = aligned((16, 64), np.uint8)
    whole[:] = TMM
    whole[:rows, :size] = SOURCE.integers(0, 256, (rows, size))
    return whole.view(dtype)


SHAPES = [(16, 16, 16), (5, 3, 7), (1, 1, 1), (16, 1, 16), (3, 16, 2)]
SIGNS = {
    "uu": (np.uint8, np.uint8),
    "us": (np.uint8, np.int8),
    "su": (np.int8, np.uint8),
    "ss": (np.int8, np.int8),
}
_PRODUCT = (
    "ldtilecfg ({0}); tileloadd ({1},{5}), %tmm1; tileloadd ({2},{5}), %tmm4; tileloaddt1 ({3},{5}), %tmm6;"
)


@pytest.mark.parametrize(("m", "quads", "lanes"), SHAPES)
@pytest.mark.parametrize("signs", SIGNS)
def test_products_of_bytes_of_any_shape(signs: str, m: int, quads: int, lanes: int) -> None:
    config = configuration(t1=(m, 4 * lanes), t4=(m, 4 * quads), t6=(quads, 4 * lanes))
    c, a, b = tile(m, 4 * lanes), tile(m, 4 * quads), tile(quads, 4 * lanes)
    y = aligned((16, 64), np.uint8)
    y[:] = TMM
    run(
        f"{_PRODUCT} tdpb{signs}d %tmm6, %tmm4, %tmm1; tilestored %tmm1, ({{4}},{{5}}); tilerelease",
        *(config, c, a, b, y, 64),
    )
    left, right = (x.view(kind).astype(np.int64) for x, kind in zip((a, b), SIGNS[signs], strict=True))
    x = right[:quads, : 4 * lanes].reshape(quads, lanes, 4).transpose(0, 2, 1).reshape(4 * quads, lanes)
    expected = c.view(np.int32)[:m, :lanes] + left[:m, : 4 * quads] @ x
    assert np.array_equal(y.view(np.int32)[:m, :lanes], expected.astype(np.int32))
    assert (y[m:] == TMM).all()
    assert (y[:, 4 * lanes :] == TMM).all()


def _bf16(values: Array) -> Array:
    """Bits of float32 values that bfloat16 holds exactly, or the nearest below."""
    return (values.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def _wide(bits: Array) -> Array:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _flushed(x: Array) -> Array:
    return np.where(np.abs(x) < 2.0**-126, np.float32(0), x.astype(np.float32))


def _bf16_product(a: Array, b: Array, c: Array) -> Array:
    """The instruction's own order: even and odd elements apart, one rounding a step, then added to C."""
    left, right = _flushed(_wide(a)), _flushed(_wide(b))
    x = right.reshape(16, 16, 2)
    sums = np.zeros((2, 16, 16), np.float32)
    for pair in range(16):
        for half in range(2):
            # The product of two bfloat16 numbers is exact in float64, and so is the sum where exponents are near.
            exact = left[:, None, 2 * pair + half].astype(np.float64) * x[None, pair, :, half] + sums[half]
            sums[half] = _flushed(exact.astype(np.float32))
    return _flushed(_flushed(c) + _flushed(sums[0] + sums[1]))


@pytest.mark.parametrize("exponent", [0, -63, -75])
def test_a_product_of_bfloat16_rounds_in_the_documented_order_and_flushes(exponent: int) -> None:
    a, b = (_bf16(np.ldexp(SOURCE.standard_normal((16, 32)), exponent)) for _ in range(2))
    c = aligned((16, 16), np.float32)
    c[:] = np.ldexp(SOURCE.standard_normal((16, 16)), 2 * exponent)
    left, right, y = aligned((16, 32), np.uint16), aligned((16, 32), np.uint16), aligned((16, 16), np.float32)
    left[:], right[:] = a, b
    run(
        f"{_PRODUCT} tdpbf16ps %tmm6, %tmm4, %tmm1; tilestored %tmm1, ({{4}},{{5}}); tilerelease",
        *(configuration(), c, left, right, y, 64),
    )
    assert np.array_equal(y, _bf16_product(a, b, c))


FORMS = [
    ("({1},{2})", 0, 1),
    ("-8({1},{2},2)", -8, 2),
    ("4096({1},{2},4)", 4096, 4),
    ("127({1},{2},8)", 127, 8),
    ("({1})", 0, 0),
]


@pytest.mark.parametrize(("form", "displacement", "scale"), FORMS)
def test_rows_are_found_by_every_form_of_address(form: str, displacement: int, scale: int) -> None:
    memory = aligned(64 * 1024, np.uint8)
    memory[:] = SOURCE.integers(0, 256, memory.size)
    y, begin, step = aligned((16, 64), np.uint8), 64, 72
    run(
        f"ldtilecfg ({{0}}); tileloadd {form}, %tmm3; tilestored %tmm3, ({{3}},{{4}}); tilerelease",
        *(configuration(), int(memory.ctypes.data) + begin, step, y, 64),
    )
    expected = [memory[begin + displacement + scale * step * row :][:64] for row in range(16)]
    assert np.array_equal(y, expected)


def test_rows_and_bytes_beyond_the_configuration_are_zero_and_stay_unread() -> None:
    part, whole = configuration(t2=(3, 20)), aligned((16, 64), np.uint8)
    whole[:] = SOURCE.integers(1, 256, whole.shape)
    y = aligned((16, 64), np.uint8)
    run(
        "ldtilecfg ({0}); tileloadd ({1},{3}), %tmm2; tilestored %tmm2, ({2},{3}); tilerelease",
        *(part, whole, y, 64),
    )
    assert np.array_equal(y[:3, :20], whole[:3, :20])
    assert not y[3:].any()
    assert not y[:, 20:].any()


def test_configuring_clears_all_tiles_and_can_be_read_again() -> None:
    config, x, y, seen = (
        configuration(t5=(7, 36)),
        tile(16, 64),
        aligned((2, 16, 64), np.uint8),
        aligned(64, np.uint8),
    )
    y[:] = TMM
    run(
        "ldtilecfg ({0}); tileloadd ({1},{4}), %tmm0; ldtilecfg ({0}); sttilecfg ({3}); tilestored %tmm0, ({2},{4});"
        "tileloadd ({1},{4}), %tmm7; tilezero %tmm7; tilestored %tmm7, 1024({2},{4}); tilerelease; sttilecfg ({5})",
        *(config, x, y, seen, 64, x),
    )
    assert np.array_equal(seen, config)
    assert not y.any()
    assert not x[0].any(), "released: the configuration reads as zeros"


def test_threads_have_tiles_of_their_own() -> None:
    config, start = configuration(), threading.Barrier(2)
    wrong: list[int] = []
    text = (
        "ldtilecfg ({0}); tileloadd ({1},{3}), %tmm0; pause; pause; tilestored %tmm0, ({2},{3}); tilerelease"
    )

    def work() -> None:
        x, y = tile(16, 64), aligned((16, 64), np.uint8)
        start.wait()
        for _ in range(200):
            run_again(config, x, y)
            wrong.extend([1] * (not np.array_equal(x, y)))

    x = tile(16, 64)
    run(text, config, x, x, 64)

    def run_again(*arrays: Array) -> None:
        run(text, *arrays, 64)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
