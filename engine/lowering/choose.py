"""Which product kernel a layer gets: the cheapest row by its cost, unless the user names a family."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import OptionError
from engine.kernels.block4_int8.rows import ROW as BLOCK4_INT8
from engine.kernels.csr_f32.rows import ROW as CSR_F32
from engine.kernels.dense_f32.rows import ROW as DENSE_F32
from engine.kernels.dense_int8.rows import ROW as DENSE_INT8
from engine.kernels.row import ProductRow, ProductShape
from engine.kernels.sparse_int8.rows import ROW as SPARSE_INT8

PRODUCT_ROWS = (DENSE_F32, CSR_F32, DENSE_INT8, BLOCK4_INT8, SPARSE_INT8)


@dataclass(frozen=True, slots=True)
class Choice:
    """The row taken, its predicted time of one core, and the others in order."""

    row: ProductRow
    cost_ns: float
    runners_up: tuple[tuple[str, float], ...]
    reason: str


def check_family(name: str) -> str:
    """A family's name. Raises OptionError when there is none of that name."""
    families = [row.family for row in PRODUCT_ROWS]
    if name not in families:
        message = f"ENGINE_KERNEL={name} names no family of product kernels. Known: {', '.join(families)}."
        raise OptionError(message)
    return name


def _fits(row: ProductRow, operand: str, shape: ProductShape) -> bool:
    return row.operand == operand and shape.lanes.width in row.kernels


def choose(operand: str, shape: ProductShape, forced: str | None) -> Choice:
    """The cheapest row for activations of this kind ("f32" or "u8"); a forced family wins where it fits."""
    ranked = sorted(
        ((row.cost(shape), row) for row in PRODUCT_ROWS if _fits(row, operand, shape)),
        key=lambda pair: pair[0],
    )
    reason = "cheapest"
    named = [pair for pair in ranked if pair[1].family == forced]
    if named:
        ranked = [*named, *(pair for pair in ranked if pair[1].family != forced)]
        reason = "forced"
    cost, row = ranked[0]
    return Choice(row, cost, tuple((other.family, ns) for ns, other in ranked[1:]), reason)
