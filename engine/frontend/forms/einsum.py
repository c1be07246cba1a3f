"""Einsum of two operands becomes transposes and one MatMul, where every letter is batch, free or contracted.

Einsum("bhqd,bhkd->bhqk", q, k)    =>    MatMul(q, Transpose(k, (0, 1, 3, 2)))
"""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call, Form, Values
from engine.graph import Value


def _einsum(call: Call) -> Values | None:
    equation = call.operation.attrs["equation"].replace(" ", "")
    if "->" not in equation or "." in equation or len(call.inputs) != 2:
        return None
    terms, result = equation.split("->")
    left, right = terms.split(",")
    letters = (left, right, result)
    if any(len(set(term)) != len(term) for term in letters):
        return None
    batch = [c for c in result if c in left and c in right]
    contracted = [c for c in left if c in right and c not in result]
    rows, columns = ([c for c in result if c in term and c not in batch] for term in (left, right))
    if sorted(batch + contracted + rows) != sorted(left) or sorted(batch + contracted + columns) != sorted(
        right
    ):
        return None
    sizes = dict(zip(left + right, call.input(0).shape + call.input(1).shape, strict=True))
    a = _matrices(call, call.input(0), (left, batch, rows, contracted), sizes)
    b = _matrices(call, call.input(1), (right, batch, contracted, columns), sizes)
    order = batch + rows + columns
    y = _shaped(call, call.emit("MatMul", a, b), tuple(sizes[c] for c in order))
    return (_permuted(call, y, "".join(order), result),)


def _matrices(
    call: Call, x: Value, groups: tuple[str, list[str], list[str], list[str]], sizes: dict[str, int]
) -> Value:
    """`x` as [*batch, one axis for the first group, one for the second]."""
    letters, batch, first, second = groups
    y = _permuted(call, x, letters, "".join(batch + first + second))
    one, two = (int(np.prod([sizes[c] for c in group])) for group in (first, second))
    return _shaped(call, y, (*(sizes[c] for c in batch), one, two))


def _permuted(call: Call, x: Value, letters: str, wanted: str) -> Value:
    perm = tuple(letters.index(c) for c in wanted)
    return x if perm == tuple(range(len(perm))) else call.emit("Transpose", x, perm=perm)


def _shaped(call: Call, x: Value, shape: tuple[int, ...]) -> Value:
    return x if x.shape == shape else call.emit("Reshape", x, shape=shape)


FORMS = (Form(("Einsum",), _einsum),)
