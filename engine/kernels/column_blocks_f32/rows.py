"""Block-sparse float32: 4 or 8 consecutive rows share a k, so one load of x serves as many multiply-adds.

block at k ->  broadcast w[0]  w[1]  w[2]  w[3]
x[k] lanes ->  sum 0 +=  sum 1 +=  sum 2 +=  sum 3 +=       sums stay in registers for a whole row of blocks
"""

from __future__ import annotations

from engine.jit import Kernel, active_level, kernel
from engine.kernels.column_blocks_f32.pack import pack
from engine.kernels.cost import Coefficients, Work, column_block_work
from engine.kernels.products.arguments import product_of, strip_and_panel
from engine.kernels.products.finishers import finish
from engine.kernels.row import Array, Cost, PackedWeights, ProductRow, ProductShape
from engine.kernels.simd.memory import read_i32
from engine.kernels.simd.tile import tile_operations

BAND = 48


def _vectors(rows: int, width: int) -> int:
    """Vectors of a register tile of so many rows: its sums, a step's x and a broadcast must fit."""
    level = active_level()
    each = 64 // level.width
    fitting = [v for v in (1, 2, 4) if v <= width // 16 and (rows + 1) * v * each < level.registers]
    return fitting[-1] if fitting else 1


def _kernel(family: str, rows: int, width: int) -> Kernel:
    """The kernel that multiplies one band by one panel of `width` lanes."""
    vectors = _vectors(rows, width)
    tile = tile_operations(rows, vectors, "f32")
    zero, step, save = tile.zero, tile.step, tile.save
    lane_bytes, shift = 64 * vectors, (4 * width).bit_length() - 1
    block_rows, block_bytes = BAND // rows, 4 * rows

    @kernel(family, f"{rows}x{16 * vectors}__panel{width}")
    def multiply(args: int, tile_begin: int, tile_end: int, scratch: int) -> None:
        a = product_of(args)
        row_bytes = a.row_bytes
        ks = a.w_index + 4 * (a.strips * block_rows + 1)
        for index in range(tile_begin, tile_end):
            band, panel = strip_and_panel(a, index)
            for row in range(block_rows):
                at = a.w_index + 4 * (band * block_rows + row)
                begin, end = read_i32(at), read_i32(at + 4)
                for lane in range(0, row_bytes, lane_bytes):
                    x = a.x + panel * a.x_panel + lane
                    sums = zero()
                    for block in range(begin, end):
                        sums = step(
                            sums, a.w + block * block_bytes, 4, x + (read_i32(ks + 4 * block) << shift)
                        )
                    save(sums, scratch + row * rows * row_bytes + lane, row_bytes)
            finish(a.epilogue, scratch, band * BAND, BAND, panel)

    return multiply


def _alive(shape: ProductShape, rows: int) -> float:
    """Blocks that are not all zero; without a count, as many as independent zeros would leave alive."""
    counted = {4: shape.alive_4x1, 8: shape.alive_8x1}[rows]
    if counted is not None:
        return counted
    density = shape.nonzeros / (shape.m * shape.k)
    return -(-shape.m // rows) * shape.k * (1 - (1 - density) ** rows)


def _row(rows: int, coefficients: dict[str, dict[int, Coefficients]]) -> ProductRow:
    family = f"block{rows}x1_f32"

    def pack_blocks(w: Array) -> PackedWeights:
        return pack(w, rows, BAND)

    def work(shape: ProductShape) -> Work:
        return column_block_work(shape.m, shape.k, shape.lanes, _alive(shape, rows), rows)

    def suits(shape: ProductShape) -> bool:
        # Eight rows leave registers for two vectors: a panel of four is walked twice, and blocks of four rows, which walk
        # it once, are 1.1 to 1.7 times as fast where many panels do not wait in L2.
        if (
            rows == 8
            and _vectors(rows, shape.lanes.width) < shape.lanes.width // 16
            and shape.lanes.panels > 2
        ):
            return False
        # As fast as the dense form even where nothing is zero, but larger: an eighth must be gone.
        return 8 * rows * _alive(shape, rows) <= 7 * shape.m * shape.k

    return ProductRow(
        family=family,
        operand="f32",
        reads="panel",
        kernels={width: _kernel(family, rows, width) for width in (16, 32, 64)},
        pack=pack_blocks,
        k_steps=lambda k: k,
        cost=Cost(work, coefficients),
        scratch=lambda width: BAND * width * 4,
        suits=suits,
    )


# Measured on an EPYC (Zen 4), one core, at each of these levels.
_FOUR = {
    "avx512_vnni": {
        16: Coefficients(0.28, 20.4, 0, 0, 0.00626),
        32: Coefficients(0.283, 22.2, 0, 0.36, 0.00536),
        64: Coefficients(0.299, 52.8, 0, 0.225, 0.0115),
    },
    "avx2": {
        16: Coefficients(0.312, 0, 2.31, 0, 0.003),
        32: Coefficients(0.319, 0, 1.42, 0.113, 0.00511),
        64: Coefficients(0.339, 13.5, 0, 0.459, 0.0219),
    },
    "generic": {
        16: Coefficients(1.46, 0, 4.34, 0.0123, 0.000914),
        32: Coefficients(1.46, 26.4, 0, 0.0436, 0.00304),
        64: Coefficients(1.46, 48.4, 0, 0.137, 0.0726),
    },
}
_EIGHT = {
    "avx512_vnni": {
        16: Coefficients(0.286, 31.1, 0, 0, 0.00394),
        32: Coefficients(0.281, 45, 0, 0.276, 0.00477),
        64: Coefficients(0.306, 99.7, 0, 0.186, 0.00554),
    },
    "avx2": {
        16: Coefficients(0.908, 0, 0.508, 0.0515, 0),
        32: Coefficients(0.906, 0, 0, 0.0756, 0.00185),
        64: Coefficients(0.906, 0, 0, 0, 0.0156),
    },
    "generic": {
        16: Coefficients(1.08, 46, 0, 0.603, 0),
        32: Coefficients(1.1, 70.8, 0, 0.403, 0.0152),
        64: Coefficients(1.13, 127, 0, 0.46, 0.0369),
    },
}

ROW_4X1 = _row(4, _FOUR)
ROW_8X1 = _row(8, _EIGHT)
