"""Block-sparse float32: 4 or 8 consecutive rows share a k, so one load of x serves as many multiply-adds.

    block at k ->  broadcast w[0]  w[1]  w[2]  w[3]
    x[k] lanes ->  sum 0 +=  sum 1 +=  sum 2 +=  sum 3 +=       sums stay in registers for a whole row of blocks
"""

from __future__ import annotations

from engine.jit import Kernel, active_level, kernel
from engine.kernels.column_blocks_f32.pack import pack
from engine.kernels.cost import Coefficients, Work, column_block_work
from engine.kernels.products.arguments import product_of, strip_and_panel
from engine.kernels.products.epilogue import finish
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
                        sums = step(sums, a.w + block * block_bytes, 4, x + (read_i32(ks + 4 * block) << shift))
                    save(sums, scratch + row * rows * row_bytes + lane, row_bytes)
            finish(a.epilogue, scratch, band * BAND, BAND, panel)

    return multiply


def _row(rows: int, coefficients: dict[str, dict[int, Coefficients]]) -> ProductRow:
    family = f"block{rows}x1_f32"

    def pack_blocks(w: Array) -> PackedWeights:
        return pack(w, rows, BAND)

    def work(shape: ProductShape) -> Work:
        alive = {4: shape.alive_4x1, 8: shape.alive_8x1}[rows]
        if alive is None:
            # Without a count: as many as independent zeros would leave alive.
            density = shape.nonzeros / (shape.m * shape.k)
            alive = round(-(-shape.m // rows) * shape.k * (1 - (1 - density) ** rows))
        return column_block_work(shape.m, shape.k, shape.lanes, alive, rows)

    return ProductRow(
        family=family,
        operand="f32",
        reads="panel",
        kernels={width: _kernel(family, rows, width) for width in (16, 32, 64)},
        pack=pack_blocks,
        k_steps=lambda k: k,
        cost=Cost(work, coefficients),
        scratch=lambda width: BAND * width * 4,
    )


_FOUR = {"generic": {width: Coefficients(0.3, 3, 1.5, 0.1, 0.005) for width in (16, 32, 64)}}
_EIGHT = {"generic": {width: Coefficients(0.3, 3, 1.5, 0.1, 0.005) for width in (16, 32, 64)}}

ROW_4X1 = _row(4, _FOUR)
ROW_8X1 = _row(8, _EIGHT)
