"""Which product kernel a layer gets: the cheapest row by its cost, unless the user names a family."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import OptionError
from engine.kernels.amx_bf16.rows import ROW as AMX_BF16
from engine.kernels.amx_bf16_compressed.rows import ROW as AMX_BF16_COMPRESSED
from engine.kernels.amx_f32.rows import ROW as AMX_F32
from engine.kernels.amx_f32_compressed.rows import ROW as AMX_F32_COMPRESSED
from engine.kernels.amx_int8.rows import ROW as AMX_INT8
from engine.kernels.amx_int8_compressed.rows import ROW as AMX_INT8_COMPRESSED
from engine.kernels.block4_int8.rows import ROW as BLOCK4_INT8
from engine.kernels.column_blocks_f32.rows import ROW_4X1 as BLOCK4X1_F32
from engine.kernels.column_blocks_f32.rows import ROW_8X1 as BLOCK8X1_F32
from engine.kernels.cost import Coefficients, Rates, predicted_ns
from engine.kernels.csr_f32.rows import ROW as CSR_F32
from engine.kernels.dense_bf16.rows import ROW as DENSE_BF16
from engine.kernels.dense_f32.rows import ROW as DENSE_F32
from engine.kernels.dense_int8.rows import ROW as DENSE_INT8
from engine.kernels.matrix_vector_f32.rows import ROW as MATRIX_VECTOR_F32
from engine.kernels.matrix_vector_int8.rows import ROW as MATRIX_VECTOR_INT8
from engine.kernels.row import ProductRow, ProductShape
from engine.kernels.sparse4_int8.rows import ROW as SPARSE4_INT8
from engine.kernels.sparse_int8.rows import ROW as SPARSE_INT8
from engine.kernels.weight_only.rows import ROW_DENSE_4 as DENSE_W4
from engine.kernels.weight_only.rows import ROW_DENSE_8 as DENSE_W8
from engine.kernels.weight_only.rows import ROW_FEW_4 as MATRIX_VECTOR_W4
from engine.kernels.weight_only.rows import ROW_FEW_8 as MATRIX_VECTOR_W8
from engine.machine.rates import read_rates

ALL_ROWS = (
    DENSE_F32,
    CSR_F32,
    BLOCK4X1_F32,
    BLOCK8X1_F32,
    MATRIX_VECTOR_F32,
    DENSE_BF16,
    AMX_F32,
    AMX_F32_COMPRESSED,
    AMX_BF16,
    AMX_BF16_COMPRESSED,
    DENSE_INT8,
    BLOCK4_INT8,
    SPARSE_INT8,
    SPARSE4_INT8,
    MATRIX_VECTOR_INT8,
    DENSE_W8,
    DENSE_W4,
    MATRIX_VECTOR_W8,
    MATRIX_VECTOR_W4,
    AMX_INT8,
    AMX_INT8_COMPRESSED,
)
# A row whose instructions this level lacks is emulated: tests run it, nobody is offered it.
PRODUCT_ROWS = tuple(row for row in ALL_ROWS if not row.emulated)
# Weights of few bits may be multiplied by all of these: as float32, if that is faster.
OPERANDS = {"f32": ("f32",), "u8": ("u8",), "w8": ("f32", "w8"), "w4": ("f32", "w4")}
# What some products over windows may be instead of a row: ops/_winograd.py asks.
WINOGRAD, WINOGRAD_BF16 = "winograd_f32", "winograd_bf16"
# So much slower may a row be that keeps weights of few bits as they are: it takes a fraction of the memory.
LEAN = 1.05


@dataclass(frozen=True, slots=True)
class Choice:
    """The row taken, its predicted time of one core, and the others in order."""

    row: ProductRow
    cost_ns: float
    runners_up: tuple[tuple[str, float], ...]
    reason: str


def check_family(name: str, said_by: str) -> str:
    """A family's name; `said_by` is where it was named. Raises OptionError when there is none of that name."""
    families = [*(row.family for row in PRODUCT_ROWS), WINOGRAD]
    if not DENSE_BF16.emulated:
        families.append(WINOGRAD_BF16)
    if name not in families:
        message = f"{said_by}={name} names no family of product kernels. Known: {', '.join(families)}."
        raise OptionError(message)
    return name


def measured_rates() -> Rates:
    """The coefficients of this machine; empty where it has not been calibrated."""
    return {
        family: {width: Coefficients(*numbers) for width, numbers in widths.items()}
        for family, widths in read_rates(len(Coefficients._fields)).items()
    }


def fitting_rows(operand: str, shape: ProductShape, precision: str = "f32") -> list[ProductRow]:
    """The rows that multiply operands of this kind, a key of OPERANDS, over these lanes.

    precision   "bf16" admits rows that round float32 operands to bfloat16
    """
    offered = [row for row in PRODUCT_ROWS if row.precision in ("f32", precision)]
    return [row for row in offered if row.operand in OPERANDS[operand] and row.takes(shape.lanes)]


def predicted_time(row: ProductRow, shape: ProductShape, rates: Rates) -> float:
    """Nanoseconds of one core: by this machine's coefficients, else by the row's own."""
    measured = rates.get(row.family, {}).get(shape.lanes.width)
    return row.cost(shape) if measured is None else predicted_ns(row.cost.work(shape), measured)


def choose(
    operand: str, shape: ProductShape, forced: str | None, rates: Rates, precision: str = "f32"
) -> Choice:
    """The row predicted to be fastest; a forced family wins where it fits. The same for the same rates.

    Rows that keep weights of few bits may be a little slower than the fastest.
    """
    fitting = fitting_rows(operand, shape, precision)
    offered = [row for row in fitting if row.suits(shape) or row.family == forced]
    ranked = sorted(
        ((predicted_time(row, shape, rates), row) for row in offered),
        key=lambda pair: pair[0],
    )
    reason = "cheapest"
    lean = [pair for pair in ranked if pair[1].operand in ("w8", "w4") and pair[0] <= LEAN * ranked[0][0]]
    if lean and lean[0] is not ranked[0]:
        ranked = [lean[0], *(pair for pair in ranked if pair is not lean[0])]
        reason = "least memory"
    named = [pair for pair in ranked if pair[1].family == forced]
    if named:
        ranked = [*named, *(pair for pair in ranked if pair[1].family != forced)]
        reason = "forced"
    cost, row = ranked[0]
    return Choice(row, cost, tuple((other.family, ns) for ns, other in ranked[1:]), reason)
