"""Pixels and the tokens of a transformer are the same positions: no transpose between a convolution and a layer.

x ── image ── [Reshape[b, c, ..]] ── Transpose(c last) ── y      =>    x ── Reshape ── y
t ── Transpose(c second) ── [Reshape[b, c, ..]] ── pixels ── y   =>    t ── Reshape ── y
x[b, c, 1, 1] ── pixels ── y                                     =>    x ── Reshape ── y
t ── Transpose(c second) ── Mul ── y                             =>    t ── Reshape ── Mul ── image ── y
x[b, p, c] ── Reshape[b, h, w, c] ── LayerNormalization ── y     =>    x ── LayerNormalization ── Reshape ── y

The last for everything that minds features only, as rows of an image are no sequences of their own.
"""

from __future__ import annotations

import math

from engine.graph import OPS, Node, Uses, Value, node, rule
from engine.graph.pattern import first_input, is_op
from engine.passes.images._weights import made_once
from engine.passes.images._window import image, pixels
from engine.passes.simplify.reshape import RULES as RESHAPES

_ELEMENTWISE = sorted(op for op, row in OPS.items() if row.elementwise)


def _reshaped(x: Value, shape: tuple[int, ...], name: str) -> Value:
    return node("Reshape", x, name=name, shape=shape)[0]


def _to_last(rank: int) -> tuple[int, ...]:
    """The order of axes that brings channels behind the pixels."""
    return (0, *range(2, rank), 1)


def _to_second(rank: int) -> tuple[int, ...]:
    """The way back."""
    return (0, rank - 1, *range(1, rank - 1))


def _is_transpose(value: Value | None, perm: tuple[int, ...]) -> bool:
    return is_op(value, "Transpose") and value is not None and tuple(value.node.attrs["perm"]) == perm


@rule("Transpose")
def tokens_of_image(transpose: Node, _uses: Uses) -> Value | None:
    """Read the pixels, or tokens, that an image was made of."""
    x = first_input(transpose[0])
    if not _is_transpose(transpose[0], _to_last(len(x.shape))):
        return None
    source = first_input(x) if is_op(x, "Reshape") else x
    is_image = is_op(source, "image") or _is_transpose(source, _to_second(len(source.shape)))
    if not is_image or source.shape[:2] != x.shape[:2]:
        return None
    return _reshaped(first_input(source), transpose[0].shape, transpose.name)


@rule("pixels")
def pixels_of_tokens(step: Node, _uses: Uses) -> Value | None:
    """Read the tokens that an image was made of."""
    x = first_input(step[0])
    source = first_input(x) if is_op(x, "Reshape") else x
    if not _is_transpose(source, _to_second(len(source.shape))) or source.shape[:2] != x.shape[:2]:
        return None
    return _reshaped(first_input(source), step[0].shape, step.name)


@rule("pixels")
def pixel_of_one(step: Node, _uses: Uses) -> Value | None:
    """An image of one pixel has its channels last already."""
    x = first_input(step[0])
    return None if is_op(x, "image") or step[0].shape[1] != 1 else _reshaped(x, step[0].shape, step.name)


@rule("Reshape")
def reshape_one_pixel(step: Node, _uses: Uses) -> Value | None:
    """Reshape the pixel that an image is made of."""
    x = first_input(step[0])
    if not is_op(x, "image") or math.prod(x.shape[2:]) != 1:
        return None
    return _reshaped(first_input(x), step[0].shape, step.name)


def _per_channel(value: Value, shape: tuple[int, ...], axis: int) -> Value | None:
    """A constant with one number, or one for each index of an axis of `shape`, as it stands beside features."""
    if value.array is None:
        return None
    if value.array.size == 1:
        return made_once(value, "scalar", lambda a: a.reshape(()))
    rank = len(shape)
    full = (1,) * (rank - len(value.shape)) + value.shape
    wanted = tuple(size if place == axis % rank else 1 for place, size in enumerate(shape))
    return made_once(value, "row", lambda a: a.reshape(-1)) if full == wanted else None


@rule(*_ELEMENTWISE)
def compute_on_tokens(step: Node, _uses: Uses) -> Value | None:
    """Elementwise nodes whose operands were all made images of tokens; of three axes they may be keys of attention."""
    shape = step.types[0].shape
    if shape is None or len(step.types) != 1 or len(shape) != 4:
        return None
    found: list[Value | None] = []
    for value in step.inputs:
        if value is not None and value.type.shape == shape and _is_transpose(value, _to_second(4)):
            found.append(pixels(value, value.node.name))
        else:
            found.append(None if value is None else _per_channel(value, shape, 1))
    if any(value is not None and moved is None for value, moved in zip(step.inputs, found, strict=True)):
        return None
    if all(value is None or value.array is not None for value in step.inputs):
        return None
    return image(node(step.op, *found, name=step.name, **step.attrs)[0], shape[2:], step.name)


# -- what minds features only
def _positions(value: Value | None) -> Value | None:
    """[b, p, k], where a value is that with its positions as the rows and columns of an image."""
    if not is_op(value, "Reshape") or value is None or len(value.shape) != 4:
        return None
    x, (images, down, across, features) = first_input(value), value.shape
    if x.type.shape is None or 0 in value.shape:
        return None
    return x if x.shape == (images, down * across, features) else None


def _above(y: Value, leading: tuple[int, ...], name: str) -> Value:
    """The result with its positions as they were."""
    return _reshaped(y, (*leading, y.shape[-1]), name)


@rule("LayerNormalization", "MatMul", "ReduceMean")
def features_first(step: Node, _uses: Uses) -> Value | None:
    """Normalise, multiply and average the features of positions where they lie."""
    x, attrs = _positions(step.inputs[0]), dict(step.attrs)
    others = [value for value in step.inputs[1:] if value is not None]
    if x is None or len(step.types) != 1 or any(value.array is None for value in others):
        return None
    if step.op == "MatMul" and len(others[0].shape) != 2:
        return None
    if attrs.get("axis", 3) != 3 or attrs.get("axes", (3,)) != (3,) or not attrs.get("keepdims", 1):
        return None
    last = {"axis": 2, "axes": (2,)}
    attrs |= {name: last[name] for name in last if name in attrs}
    y = node(step.op, x, *step.inputs[1:], name=step.name, **attrs)[0]
    return _above(y, step[0].shape[:-1], step.name)


@rule(*_ELEMENTWISE)
def positions_first(step: Node, _uses: Uses) -> Value | None:
    """Compute number by number before positions become rows and columns."""
    shape = step.types[0].shape
    if shape is None or len(step.types) != 1 or len(shape) != 4:
        return None
    found: list[Value | None] = []
    for value in step.inputs:
        x = _positions(value)
        if value is None or (x is not None and value.shape[:-1] == shape[:-1]):
            found.append(x)
        else:
            found.append(_per_channel(value, shape, -1))
    missing = any(
        value is not None and moved is None for value, moved in zip(step.inputs, found, strict=True)
    )
    if missing or not any(value is not None and value.array is None for value in found):
        return None
    y = node(step.op, *found, name=step.name, **step.attrs)[0]
    return _above(y, shape[:-1], step.name) if y.shape[1] == math.prod(shape[1:3]) else None


RULES = (
    *RESHAPES,
    tokens_of_image,
    pixels_of_tokens,
    pixel_of_one,
    reshape_one_pixel,
    compute_on_tokens,
    features_first,
    positions_first,
)
