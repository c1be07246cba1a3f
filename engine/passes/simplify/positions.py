"""Positions that only change places are taken by number, however the move was written.

x[b, s, k] ── Reshape ── Slice, Slice, Concat ── Reshape[b, .., 7, .., 7, k] ── Transpose ── Reshape[windows, 49, k] ── y
=>    x ── take_positions(places) ── y

Windows of an image, shifted ones among them, are such moves, and so is the way back. The features of a position stay
together, so that a panel goes over into a panel. Heads are not meant: their transposes have four axes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.graph import Array, Node, Uses, Value, constant, node, rule

# Axes of a transpose that cuts an image into windows: batch, rows and columns twice, features.
_AXES = 6


def _reshaped(step: Node, places: list[Array]) -> Array:
    return places[0].reshape(step.types[0].shape[:-1] if step.types[0].shape else ())


def _transposed(step: Node, places: list[Array]) -> Array:
    return places[0].transpose(step.attrs["perm"][:-1])


def _sliced(step: Node, places: list[Array]) -> Array:
    ranges = [slice(None)] * places[0].ndim
    named = (step.attrs[name] for name in ("axes", "starts", "ends", "steps"))
    for axis, start, end, stride in zip(*named, strict=True):
        ranges[axis] = slice(start, None if end < 0 else end, stride)
    return places[0][tuple(ranges)]


def _joined(step: Node, places: list[Array]) -> Array:
    return np.concatenate(places, axis=step.attrs["axis"])


def _taken(step: Node, places: list[Array]) -> Array:
    chosen = step.inputs[1]
    found = (
        places[0].reshape(-1)
        if chosen is None or chosen.array is None
        else places[0].reshape(-1)[chosen.array]
    )
    return found.reshape(step.types[0].shape[:-1] if step.types[0].shape else ())


def _keeps_features(step: Node) -> bool:
    """Whether a move leaves the last axis as it is."""
    x, y = step.inputs[0], step.types[0].shape
    if x is None or x.array is not None or not x.type.shape or not y or x.shape[-1] != y[-1] or 0 in y:
        return False
    last = len(x.shape) - 1
    return (
        step.attrs.get("perm", (last,))[-1] == last
        and last not in step.attrs.get("axes", ())
        and step.attrs.get("axis", 0) != last
    )


_MOVES: dict[str, Callable[[Node, list[Array]], Array]] = {
    "Reshape": _reshaped,
    "Transpose": _transposed,
    "Slice": _sliced,
    "Concat": _joined,
    "take_positions": _taken,
}


def _source(value: Value, seen: list[Node]) -> tuple[Value, Array]:
    """What is moved, and which of its positions lie where in `value`; moves on the way are added to `seen`."""
    step = value.node
    if step.op in _MOVES and _keeps_features(step):
        moved = step.inputs if step.op == "Concat" else step.inputs[:1]
        found = [_source(part, seen) for part in moved if part is not None]
        if all(source == found[0][0] for source, _ in found):
            seen.append(step)
            return found[0][0], _MOVES[step.op](step, [places for _, places in found])
    shape = value.shape[:-1]
    return value, np.arange(int(np.prod(shape))).reshape(shape)


def _is_window(step: Node) -> bool:
    return step.op == "take_positions" or (step.op == "Transpose" and len(step.attrs["perm"]) >= _AXES)


@rule("Reshape")
def take_positions(last: Node, _uses: Uses) -> Value | None:
    """Take the positions, or, where they lie in order, only count them otherwise."""
    y = last[0]
    if y.dtype != np.float32 or y.type.shape is None or not _keeps_features(last):
        return None
    moves: list[Node] = []
    source, places = _source(y, moves)
    if len(moves) < 2 or not any(map(_is_window, moves)):
        return None
    flat = places.reshape(-1)
    if flat.size == int(np.prod(source.shape[:-1])) and (flat == np.arange(flat.size)).all():
        return node("Reshape", source, name=last.name, shape=y.shape)[0]
    table = constant(np.ascontiguousarray(flat, np.int64), last.name)
    return node("take_positions", source, table, name=last.name, shape=y.shape)[0]


RULES = (take_positions,)
