"""Two products in a row are one, where that multiplies less; so are two constant rows that are added.

x ── MatMul(A) ── Add(a) ── MatMul(B) ── y    =>    x ── MatMul(A B) ── Add(a B) ── y
x ── Add(a) ── Add(b) ── y                    =>    x ── Add(a + b) ── y

A head that brings features of several sizes to one number of channels, and joins them by a convolution of one pixel, is
such a row once the convolution stands before the resizing. Computed in float64, rounded once. Low ranks stay two products,
and so do weights whose zeros the product would fill.
"""

from __future__ import annotations

from functools import partial
from weakref import ref

import numpy as np

from engine.graph import Array, Node, Uses, Value, node, rule
from engine.graph.pattern import either_way, first_input, is_op, operands, row_constant
from engine.passes.images._weights import made_once
from engine.passes.weights import Matrix, float_matrix


def _columns(matrix: Matrix) -> Array:
    """[k, m] in float64."""
    array = matrix.value.array
    if array is None:
        message = f"{matrix.value.node!r} is no constant"
        raise TypeError(message)
    return np.asarray(array if matrix.axes == "km" else array.T, np.float64)


def _given(made: Array, _: Array) -> Array:
    return made


def _before(x: Value, uses: Uses) -> tuple[Value, Value | None] | None:
    """The product whose results x are, and the constant that was added to them, if any; nobody else reads them."""
    if uses[x] != 1 or x.type.shape is None:
        return None
    if is_op(x, "MatMul"):
        return x, None
    if not is_op(x, "Add"):
        return None
    for product, addend in either_way(x.node):
        is_row = row_constant(addend, x.shape[-1]) is not None
        if is_op(product, "MatMul") and product.type == x.type and uses[product] == 1 and is_row:
            return product, addend
    return None


def _multiplies_less(first: Matrix, second: Matrix) -> bool:
    """Whether one product of all features takes fewer than both; zeros are none."""
    rows = first.value.shape[first.axes.index("k")]
    return rows * second.outputs < sum(int(np.count_nonzero(_columns(m))) for m in (first, second))


@rule("MatMul")
def one_product(product: Node, uses: Uses) -> Value | None:
    """Multiply the matrices instead, and what is added between them."""
    middle, w = operands(product)
    second, found = float_matrix(w), _before(middle, uses)
    if second is None or found is None:
        return None
    before, addend = found
    first = float_matrix(operands(before.node)[1])
    if first is None or not _multiplies_less(first, second):
        return None
    name, form = product.name, ("before", ref(second.value.node), first.axes, second.axes)
    matrix = made_once(first.value, form, lambda _: (_columns(first) @ _columns(second)).astype(np.float32))
    y = node("MatMul", first_input(before), matrix, name=name)[0]
    if addend is None:
        return y
    row = row_constant(addend, second.value.shape[second.axes.index("k")])
    if row is None:
        return None
    moved = made_once(addend, form, lambda _: (row.astype(np.float64) @ _columns(second)).astype(np.float32))
    return node("Add", y, moved, name=name)[0]


@rule("Add")
def one_row(add: Node, uses: Uses) -> Value | None:
    """Add the sum of two rows of constants to a product."""
    for x, second in either_way(add):
        if not is_op(x, "Add") or uses[x] != 1 or x.type != add.types[0] or not x.shape:
            continue
        for product, first in either_way(x.node):
            one, two = (row_constant(value, x.shape[-1]) for value in (first, second))
            if not is_op(product, "MatMul") or product.type != x.type or one is None or two is None:
                continue
            total: Array = one + two
            both = made_once(first, ("and", ref(second.node)), partial(_given, total))
            return node("Add", product, both, name=add.name)[0]
    return None


RULES = (one_product, one_row)
