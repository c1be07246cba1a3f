"""The epilogue as kernels of its own: one for each kind of sums, form of the result and activation.

    product kernel ── sums in scratch ──> finisher, called by the address in the epilogue's record

So no product's kernel holds a copy of the epilogue (a third to two thirds of what there was to compile), and in each
finisher what tells programs apart most is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from engine.jit import Kernel, call_by_address, inner, kernel
from engine.kernels.products.activation import ACTIVATIONS
from engine.kernels.products.curve import HAS_CURVES
from engine.kernels.products.epilogue import (
    STORE_CENTRED,
    STORE_F32,
    STORE_QUANTIZED,
    STORE_ROUNDED,
    epilogue_of,
    known_program,
    run_program,
)

_ARGUMENTS = 7
_run = call_by_address(_ARGUMENTS)
_SUMS = {"f32": 0, "i32": 1}
# What is stored as whole numbers, dequantised or not, differs by a factor only, which the program reads.
_FORMS = {"f32": STORE_F32, "quads": STORE_QUANTIZED, "whole": STORE_CENTRED}

Table = Mapping[tuple[int, int, int], Kernel]


def finisher_table(make: Callable[[str, int, int, int], Kernel]) -> Table:
    """A kernel for each kind of sums, form and activation, by these numbers; made of a name and the three."""
    made = {
        (_SUMS[kind], _FORMS[form], number): make(
            f"{kind}_to_{form}__{name}", _SUMS[kind], _FORMS[form], number
        )
        for kind in _SUMS
        for form in _FORMS
        for name, number in ACTIVATIONS.items()
        if name != "curve" or (HAS_CURVES and (kind, form) == ("i32", "quads"))
    }
    return MappingProxyType(made)


def finisher_of(table: Table, fields: Mapping[str, Any]) -> Kernel:
    """The kernel of a table for an epilogue's fields."""
    store = fields.get("store", STORE_F32)
    form = STORE_CENTRED if store == STORE_ROUNDED else store
    return table[fields.get("integer", 0), form, fields.get("activation", 0)]


def _finisher(name: str, integer: int, store: int, activation: int) -> Kernel:
    @kernel("finish", name, arguments=_ARGUMENTS)
    def finisher(address: int, sums: int, stride: int, row: int, rows: int, lane: int, lanes: int) -> None:
        e = epilogue_of(address)
        run_program(e, known_program(e, integer, activation, store), sums, stride, row, rows, lane, lanes)

    return finisher


# Of sums [row][lane].
FINISHERS: Table = finisher_table(_finisher)


@inner
def finish_lanes(address: int, sums: int, stride: int, row: int, rows: int, lane: int, lanes: int) -> None:
    """Run the program at `address` over sums[rows][lanes], which belong to lanes `lane` and on of one panel.

    stride        bytes from one row of sums to the next
    row           a multiple of 4
    lane, lanes   multiples of 16, counted over all panels
    """
    _run(epilogue_of(address).finisher, address, sums, stride, row, rows, lane, lanes)


@inner
def finish(address: int, sums: int, row: int, rows: int, panel: int) -> None:
    """Run the program at `address` over sums[rows][panel width] of one panel, rows `row` and on.

    row    a multiple of 4
    """
    row_bytes = epilogue_of(address).row_bytes
    lanes = row_bytes // 4
    finish_lanes(address, sums, row_bytes, row, rows, panel * lanes, lanes)
