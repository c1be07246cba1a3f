"""Positions that only change places are taken by number, however the move was written.

x[b, s, k] ── Reshape ── Slice, Slice, Concat ── Reshape[b, .., 7, .., 7, k] ── Transpose ── Reshape[windows, 49, k] ── y
=>    x ── take_positions(places) ── y

Windows of an image, shifted ones among them, are such moves, and so is the way back. The features of a position stay
together, so that a panel goes over into a panel. Heads are not meant: their transposes have four axes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


class _Moved(NamedTuple):
    """What is moved, which of its positions lie where, by how many moves, and whether one of them cuts windows."""

    source: Value
    places: Array
    moves: int
    windows: bool


def _moved(value: Value, known: dict[Value, _Moved]) -> _Moved:
    """How a value came to be; `known` are those that were asked for, as rolled images are read twice at every turn."""
    found = known.get(value)
    if found is None:
        found = known[value] = _by_move(value.node, known) or _unmoved(value)
    return found


def _unmoved(value: Value) -> _Moved:
    shape = value.shape[:-1]
    return _Moved(value, np.arange(int(np.prod(shape))).reshape(shape), 0, False)


def _by_move(step: Node, known: dict[Value, _Moved]) -> _Moved | None:
    """What a move makes, if it is one, and of one source."""
    if step.op not in _MOVES or not _keeps_features(step):
        return None
    moved = step.inputs if step.op == "Concat" else step.inputs[:1]
    parts = [_moved(part, known) for part in moved if part is not None]
    if any(part.source != parts[0].source for part in parts):
        return None
    places = _MOVES[step.op](step, [part.places for part in parts])
    windows = _is_window(step) or any(part.windows for part in parts)
    return _Moved(parts[0].source, places, 1 + max(part.moves for part in parts), windows)


def _is_window(step: Node) -> bool:
    return step.op == "take_positions" or (step.op == "Transpose" and len(step.attrs["perm"]) >= _AXES)


@rule("Reshape")
def take_positions(last: Node, _uses: Uses) -> Value | None:
    """Take the positions, or, where they lie in order, only count them otherwise."""
    y = last[0]
    if y.dtype != np.float32 or y.type.shape is None or not _keeps_features(last):
        return None
    found = _moved(y, {})
    if found.moves < 2 or not found.windows:
        return None
    flat = found.places.reshape(-1)
    if flat.size == int(np.prod(found.source.shape[:-1])) and (flat == np.arange(flat.size)).all():
        return node("Reshape", found.source, name=last.name, shape=y.shape)[0]
    table = constant(np.ascontiguousarray(flat, np.int64), last.name)
    return node("take_positions", found.source, table, name=last.name, shape=y.shape)[0]


RULES = (take_positions,)
