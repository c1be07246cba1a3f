"""Everything that keeps the elements in their order becomes Reshape with a static shape, or vanishes."""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call, Form, Values, from_front, static
from engine.frontend.model import numpy_dtype
from engine.graph import Value

INT64 = np.dtype(np.int64)


def reshaped(call: Call, shape: tuple[int, ...]) -> Values:
    """Input 0 under another shape; itself where that is its shape already."""
    x = call.input(0)
    return (x,) if x.shape == shape else (call.emit("Reshape", x, shape=shape),)


def _reshape(call: Call) -> Values | None:
    x = call.input(0)
    wanted = [int(size) for size in static(call.input(1))]
    if not call.attrs.get("allowzero", 0):
        if 0 in wanted[len(x.shape) :]:
            message = f"a 0 in {wanted} stands for no size of {list(x.shape)}"
            raise ValueError(message)
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if -1 in wanted:
        others = int(np.prod([size for size in wanted if size != -1]))
        wanted[wanted.index(-1)] = int(np.prod(x.shape)) // others if others else 0
    return reshaped(call, tuple(wanted))


def _flatten(call: Call) -> Values | None:
    shape, axis = call.input(0).shape, call.attrs["axis"]
    # The end of the shape is a place to cut at, too.
    axis = len(shape) if axis == len(shape) else from_front(axis, len(shape))
    return reshaped(call, (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))))


def _squeeze(call: Call) -> Values | None:
    shape, axes = call.input(0).shape, call.parameter("axes", 1)
    dropped = (
        {from_front(axis, len(shape)) for axis in axes}
        if axes
        else {a for a, size in enumerate(shape) if size == 1}
    )
    return reshaped(call, tuple(size for axis, size in enumerate(shape) if axis not in dropped))


def _unsqueeze(call: Call) -> Values | None:
    rest, axes = list(call.input(0).shape), call.parameter("axes", 1) or ()
    rank = len(rest) + len(axes)
    added = {from_front(axis, rank) for axis in axes}
    if len(added) != len(axes):
        message = f"axes {list(axes)} name one place twice"
        raise ValueError(message)
    return reshaped(call, tuple(1 if axis in added else rest.pop(0) for axis in range(rank)))


def _same(call: Call) -> Values | None:
    return (call.input(0),)


def _dropout(call: Call) -> Values | None:
    training = call.optional(2)
    if training is not None and (training.array is None or bool(training.array)):
        return None
    x = call.input(0)
    if len(call.operation.outputs) == 1:
        return (x,)
    return x, call.constant(np.ones(x.shape, np.bool_))


def _cast(call: Call) -> Values | None:
    return converted(call, call.input(0), numpy_dtype(call.attrs["to"]))


def converted(call: Call, x: Value, dtype: np.dtype) -> Values | None:
    """`x` as another dtype; text and saturating 8-bit floats are left to the reference."""
    if dtype == x.dtype:
        return (x,)
    if {dtype.kind, x.dtype.kind} - set("biuf"):
        return None
    return (call.emit("Cast", x, to=dtype),)


def _shape(call: Call) -> Values | None:
    x, rank = call.input(0), len(call.input(0).shape)
    start, end = (int(call.attrs.get(name, default)) for name, default in (("start", 0), ("end", rank)))
    start, end = (max(place + rank, 0) if place < 0 else place for place in (start, end))
    return (call.constant(np.asarray(x.shape[start:end], INT64)),)


def _size(call: Call) -> Values | None:
    return (call.constant(np.asarray(int(np.prod(call.input(0).shape)), INT64)),)


FORMS = (
    Form(("Reshape",), _reshape),
    Form(("Flatten",), _flatten),
    Form(("Squeeze",), _squeeze),
    Form(("Unsqueeze",), _unsqueeze),
    Form(("Identity",), _same),
    Form(("Dropout",), _dropout),
    Form(("Cast",), _cast),
    Form(("CastLike",), lambda call: converted(call, call.input(0), call.input(1).dtype)),
    Form(("Shape",), _shape),
    Form(("Size",), _size),
)
