"""Images of another size are made of pixels, of as few channels and as late as can be.

x ── Resize ── pixels ── y                       =>    x ── pixels ── resize_pixels ── y
a, b ── Concat(axis = 1) ── pixels ── y          =>    a, b ── pixels ── concat_pixels ── y
x ── Resize to its own size ── y                 =>    x ── y
x ── resize_pixels ── MatMul(W) ── y             =>    x ── MatMul(W) ── resize_pixels ── y
a ────────────────┐                                    a ── MatMul(rows of W) ────────────────── Add ── y
b ── resize_pixels ┴ concat_pixels ── MatMul(W) ── y   =>    b ── MatMul(rows of W) ── resize_pixels ─┘
x ── resize_pixels ── Add(b[c]) ── y             =>    x ── Add(b[c]) ── resize_pixels ── y

A product of features and a sum over pixels change places: fewer pixels are multiplied where the image grows. The shares of a
pixel's sources add up to one, so that a number for each channel may be added before. Reassociation, as in sums of float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.graph import Node, Uses, Value, node, rule
from engine.graph.ops.resize import Resizing, places_along
from engine.graph.pattern import either_way, first_input, is_op, operands, row_constant
from engine.passes.images._weights import made_once
from engine.passes.images._window import pixels
from engine.passes.weights import Matrix, float_matrix

_AXES = (3, 4)
# Products whose time one number of a resized image takes: read, written, and added to what was multiplied.
_PRODUCTS_A_NUMBER = 64


@rule("Resize")
def drop_own_size(step: Node, _uses: Uses) -> Value | None:
    """Read an image that keeps its size."""
    x = first_input(step[0])
    if x.type != step.types[0]:
        return None
    for axis, size in enumerate(x.shape):
        place, _, share = places_along(step.attrs, axis, size)
        if share.any() or not np.array_equal(place, np.arange(size)):
            return None
    return x


@rule("pixels")
def resize_on_pixels(step: Node, _uses: Uses) -> Value | None:
    """Resize where pixels are wanted, behind the move."""
    resized = first_input(step[0])
    if not is_op(resized, "Resize") or resized.dtype != np.float32 or len(resized.shape) not in _AXES:
        return None
    x, attrs = first_input(resized), resized.node.attrs
    if x.type.shape is None or x.shape[:2] != resized.shape[:2] or tuple(attrs["scales"][:2]) != (1, 1):
        return None
    modes = (attrs["coordinate_transformation_mode"], attrs["mode"], attrs["nearest_mode"])
    resizing = Resizing(x.shape[2:], resized.shape[2:], tuple(attrs["scales"][2:]), *modes)
    return node("resize_pixels", pixels(x, step.name), name=resized.node.name, resizings=(resizing,))[0]


@rule("pixels")
def join_pixels(step: Node, _uses: Uses) -> Value | None:
    """Join the features of pixels, not the channels of images."""
    joined = first_input(step[0])
    if not is_op(joined, "Concat") or joined.dtype != np.float32 or joined.node.attrs["axis"] != 1:
        return None
    values = [value for value in joined.node.inputs if value is not None]
    if any(value.array is not None or value.type.shape is None for value in values):
        return None
    name = joined.node.name
    return node("concat_pixels", *(pixels(value, name) for value in values), name=name)[0]


# -- products before growing
@dataclass(frozen=True)
class _Part:
    """Some features of what a product multiplies: the first of them in the whole, and how many there are."""

    value: Value
    first: int
    count: int


def _parts(x: Value) -> list[_Part]:
    values = x.node.inputs if is_op(x, "concat_pixels") else (x,)
    found: list[_Part] = []
    for value in values:
        if value is not None:
            found.append(_Part(value, sum(part.count for part in found), value.shape[-1]))
    return found


def _grows_enough(part: _Part, outputs: int, uses: Uses) -> bool:
    """Whether it pays to multiply a part before it is resized."""
    if not is_op(part.value, "resize_pixels") or len(part.value.node.inputs) > 1 or uses[part.value] != 1:
        return False
    before, after = first_input(part.value).shape[1], part.value.shape[1]
    saved = part.count * outputs * (after - before)
    more = outputs + max(0, outputs - part.count)
    return saved >= _PRODUCTS_A_NUMBER * more * after


def _rows(matrix: Matrix, parts: list[_Part], name: str) -> Value:
    """The rows of the features of some parts, as a MatMul reads them."""
    chosen = tuple(place for part in parts for place in range(part.first, part.first + part.count))
    if matrix.axes == "km":
        return made_once(matrix.value, ("features", chosen), lambda w: w[list(chosen)])
    own = made_once(matrix.value, ("features of columns", chosen), lambda w: w[:, list(chosen)])
    return node("Transpose", own, name=name, perm=(1, 0))[0]


@rule("MatMul")
def multiply_before_growing(product: Node, uses: Uses) -> Value | None:
    """Multiply the pixels that there are before others are made of them."""
    x, w = operands(product)
    matrix, name = float_matrix(w), product.name
    if matrix is None or x.type.shape is None or (is_op(x, "concat_pixels") and uses[x] != 1):
        return None
    parts = _parts(x)
    growing = [part for part in parts if _grows_enough(part, matrix.outputs, uses)]
    if not growing:
        return None
    resized: list[Value] = []
    for part in growing:
        small = first_input(part.value)
        resized.append(node("MatMul", small, _rows(matrix, [part], name), name=name)[0])
    resizings = tuple(part.value.node.attrs["resizings"][0] for part in growing)
    y = node("resize_pixels", *resized, name=growing[0].value.node.name, resizings=resizings)[0]
    rest = [part for part in parts if part not in growing]
    if not rest:
        return y
    values = [part.value for part in rest]
    joined = values[0] if len(values) == 1 else node("concat_pixels", *values, name=x.node.name)[0]
    own = node("MatMul", joined, _rows(matrix, rest, name), name=name)[0]
    return node("Add", own, y, name=name)[0]


@rule("Add")
def add_before_growing(add: Node, uses: Uses) -> Value | None:
    """A number for each channel is added to the pixels that there are, or stays beside the product."""
    for x, addend in either_way(add):
        row = row_constant(addend, add.types[0].shape[-1]) if add.types[0].shape else None
        if row is None or uses[x] != 1 or x.type != add.types[0]:
            continue
        if is_op(x, "resize_pixels"):
            first, *others = (value for value in x.node.inputs if value is not None)
            moved = node("Add", first, addend, name=add.name)[0]
            return node(x.op, moved, *others, name=x.node.name, **x.node.attrs)[0]
        if is_op(x, "Add"):
            for product, resized in either_way(x.node):
                if is_op(product, "MatMul") and is_op(resized, "resize_pixels"):
                    own = node("Add", product, addend, name=add.name)[0]
                    return node("Add", own, resized, name=x.node.name)[0]
    return None


RULES = (
    drop_own_size,
    resize_on_pixels,
    join_pixels,
    multiply_before_growing,
    add_before_growing,
)
