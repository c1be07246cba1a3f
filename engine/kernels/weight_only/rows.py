"""Rows of float32 activations by weights of 8 and of 4 bits: dense, and over 1 to 8 lanes."""

from __future__ import annotations

from engine.kernels.cost import Coefficients, Work, far_bytes, streamed_bytes
from engine.kernels.products.vector_strips import MOST_LANES, WIDTH
from engine.kernels.row import Cost, PackedWeights, ProductRow, ProductShape
from engine.kernels.weight_only.pack import STRIP, VECTORS, FewBits, pack, packed_bytes
from engine.kernels.weight_only.panel import RUN, panel_kernel, panel_scratch
from engine.kernels.weight_only.vector import VECTOR_SCRATCH, vector_kernel

Levels = dict[str, dict[int, Coefficients]]


def _bytes(shape: ProductShape, bits: int) -> int:
    return packed_bytes(shape.m, shape.k, shape.block or shape.k, bits)


def _panel_work(shape: ProductShape, bits: int) -> Work:
    """Multiply-adds as of a dense form; a group is a vector of weights made float32."""
    strips, runs = -(-shape.m // STRIP), -(-shape.lanes.panels // RUN)
    vectors = shape.lanes.vectors
    steps, groups = strips * STRIP * shape.k * vectors, strips * VECTORS * shape.k * runs
    return Work(steps, groups, shape.m * vectors, shape.k * vectors, far_bytes(_bytes(shape, bits), runs))


def _vector_work(shape: ProductShape, bits: int) -> Work:
    """Multiply-adds of sixteen rows by a lane; a group is a vector of weights made float32."""
    strips = -(-shape.m // STRIP)
    groups = strips * VECTORS * shape.k
    lanes = min(MOST_LANES, 1 << (shape.lanes.inner - 1).bit_length())
    blocks = strips * -(-shape.k // (shape.block or shape.k))
    return Work(groups * lanes, groups, shape.m, blocks * lanes, streamed_bytes(_bytes(shape, bits)))


def _dense(bits: int, coefficients: Levels) -> ProductRow:
    family = f"dense_w{bits}"

    def pack_bits(w: FewBits) -> PackedWeights:
        return pack(w, bits)

    return ProductRow(
        family=family,
        operand=f"w{bits}",
        reads="panel",
        kernels={width: panel_kernel(family, width, bits) for width in (16, 32, 64)},
        pack=pack_bits,
        k_steps=lambda k: k,
        cost=Cost(lambda shape: _panel_work(shape, bits), coefficients),
        scratch=panel_scratch,
        run=RUN,
    )


def _few(bits: int, coefficients: Levels) -> ProductRow:
    family = f"matrix_vector_w{bits}"

    def pack_bits(w: FewBits) -> PackedWeights:
        return pack(w, bits)

    return ProductRow(
        family=family,
        operand=f"w{bits}",
        reads="panel",
        kernels={WIDTH: vector_kernel(family, bits)},
        pack=pack_bits,
        k_steps=lambda k: k,
        cost=Cost(lambda shape: _vector_work(shape, bits), coefficients),
        scratch=lambda _width: VECTOR_SCRATCH,
        most_lanes=MOST_LANES,
    )


# Measured on an EPYC (Zen 4) by `python -m engine.warm --calibrate`, at each of these levels.
_DENSE_8: Levels = {
    "avx512_vnni": {
        16: Coefficients(0.322, 0, 3.2, 0, 0.003),
        32: Coefficients(0.304, 0, 3.43, 0, 0.00583),
        64: Coefficients(0.292, 0.464, 2.72, 0, 0),
    },
    "avx2": {
        16: Coefficients(0.333, 0, 3.32, 0, 0),
        32: Coefficients(0.312, 0, 2.43, 0, 0),
        64: Coefficients(0.302, 0, 2.31, 0, 0.00984),
    },
    "generic": {
        16: Coefficients(0.948, 0, 4.44, 0, 0.00743),
        32: Coefficients(0.886, 0, 5.73, 2.63, 0.0155),
        64: Coefficients(0.872, 0.856, 2.1, 0.11, 0.0155),
    },
}
_DENSE_4: Levels = {
    "avx512_vnni": {
        16: Coefficients(0.323, 0, 3.98, 0, 0),
        32: Coefficients(0.3, 0, 3.6, 0, 0.00498),
        64: Coefficients(0.29, 0, 2.43, 0, 0.0352),
    },
    "avx2": {
        16: Coefficients(0.338, 0, 3.28, 0, 0.0564),
        32: Coefficients(0.314, 0, 2.7, 0, 0.0203),
        64: Coefficients(0.301, 0.0776, 1.63, 0, 0.0368),
    },
    "generic": {
        16: Coefficients(0.936, 0, 4.61, 0, 0.0535),
        32: Coefficients(0.88, 0, 5.9, 1.62, 0.0141),
        64: Coefficients(0.882, 0.0316, 1.72, 0, 0.0728),
    },
}
_FEW_8: Levels = {
    "avx512_vnni": {WIDTH: Coefficients(0.249, 0.328, 3.9, 0.25, 0.000477)},
    "avx2": {WIDTH: Coefficients(0.259, 0.765, 4.44, 3.76, 0.00755)},
    "generic": {WIDTH: Coefficients(1.28, 0.833, 6.73, 2.18, 0.00268)},
}
_FEW_4: Levels = {
    "avx512_vnni": {WIDTH: Coefficients(0.214, 0.561, 3.76, 0, 0.00108)},
    "avx2": {WIDTH: Coefficients(0.264, 0.773, 3.7, 0, 0.00238)},
    "generic": {WIDTH: Coefficients(1.43, 0.827, 6.39, 0, 0.00266)},
}

ROW_DENSE_8 = _dense(8, _DENSE_8)
ROW_DENSE_4 = _dense(4, _DENSE_4)
ROW_FEW_8 = _few(8, _FEW_8)
ROW_FEW_4 = _few(4, _FEW_4)
