"""Movement with static parameters: transposes, slices, joins, look-ups, padding, repetition, resizing."""

from __future__ import annotations

import numpy as np

from engine.frontend.form import Call, Form, NotStaticError, Values, from_front, need_numbers, static
from engine.graph import Value


def _transpose(call: Call) -> Values | None:
    x = call.input(0)
    perm = tuple(int(axis) for axis in call.attrs.get("perm", range(len(x.shape))[::-1]))
    need_numbers("perm", perm, len(x.shape))
    return (x,) if perm == tuple(range(len(perm))) else (call.emit("Transpose", x, perm=perm),)


def _slice(call: Call) -> Values | None:
    x = call.input(0)
    starts, ends = call.parameter("starts", 1), call.parameter("ends", 2)
    if starts is None or ends is None:
        raise NotStaticError
    axes = call.parameter("axes", 3) or tuple(range(len(starts)))
    steps = call.parameter("steps", 4) or (1,) * len(starts)
    axes = tuple(from_front(axis, len(x.shape)) for axis in axes)
    windows = [
        slice(start, end, step).indices(x.shape[axis])
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    ]
    return (sliced(call, x, axes, windows),)


def sliced(call: Call, x: Value, axes: tuple[int, ...], windows: list[tuple[int, int, int]]) -> Value:
    """The windows (start, end, step) of `x` along `axes`; `x` itself where they cover it."""
    pairs = zip(axes, windows, strict=True)
    if all(window == (0, x.shape[axis], 1) for axis, window in pairs):
        return x
    starts, ends, steps = zip(*windows, strict=True)
    return call.emit("Slice", x, axes=axes, starts=starts, ends=ends, steps=steps)


def _split(call: Call) -> Values | None:
    x = call.input(0)
    axis = from_front(call.attrs["axis"], len(x.shape))
    count = len(call.operation.outputs)
    sizes = call.parameter("split", 1)
    if sizes is None:
        whole = -(-x.shape[axis] // count)
        sizes = tuple(min(whole, x.shape[axis] - whole * part) for part in range(count))
    if sum(sizes) != x.shape[axis] or min(sizes) < 0 or len(sizes) != count:
        message = f"parts of {list(sizes)} are no split of {x.shape[axis]} into {count}"
        raise ValueError(message)
    ends = np.cumsum(sizes).tolist()
    return tuple(
        sliced(call, x, (axis,), [(end - size, end, 1)]) for size, end in zip(sizes, ends, strict=True)
    )


def _concat(call: Call) -> Values | None:
    values = [value for value in call.inputs if value is not None]
    axis = from_front(call.attrs["axis"], len(values[0].shape))
    return (values[0],) if len(values) == 1 else (call.emit("Concat", *values, axis=axis),)


def _gather(call: Call) -> Values | None:
    table, indices = call.input(0), call.input(1)
    axis = from_front(call.attrs["axis"], len(table.shape))
    return (call.emit(call.operation.op, table, indices, axis=axis),)


def _gather_by_tuples(call: Call) -> Values | None:
    return (
        call.emit("GatherND", call.input(0), call.input(1), batch_dims=int(call.attrs.get("batch_dims", 0))),
    )


def _expand(call: Call) -> Values | None:
    x = call.input(0)
    shape = np.broadcast_shapes(x.shape, tuple(int(size) for size in static(call.input(1))))
    return (x,) if shape == x.shape else (call.emit("Expand", x, shape=shape),)


def _tile(call: Call) -> Values | None:
    x, repeats = call.input(0), tuple(int(count) for count in static(call.input(1)))
    need_numbers("repeats", repeats, len(x.shape))
    return (call.emit("Tile", x, repeats=repeats),)


PADDING_MODES = ("constant", "reflect", "edge", "wrap")


def _pad(call: Call) -> Values | None:
    x = call.input(0)
    pads = call.parameter("pads", 1)
    if pads is None:
        raise NotStaticError
    value = call.optional(2)
    if "value" in call.attrs:
        value = call.constant(np.asarray(call.attrs["value"], x.dtype))
    axes = call.parameter("axes", 3)
    if axes is not None:
        whole = [0] * (2 * len(x.shape))
        for place, axis in enumerate(axes):
            front = from_front(axis, len(x.shape))
            whole[front] = pads[place]
            whole[front + len(x.shape)] = pads[place + len(axes)]
        pads = tuple(whole)
    if call.attrs["mode"] not in PADDING_MODES:
        message = f"mode is {call.attrs['mode']!r}; it must be one of {', '.join(PADDING_MODES)}"
        raise ValueError(message)
    need_numbers("pads", pads, 2 * len(x.shape))
    if not any(pads):
        return (x,)
    return (call.emit("Pad", x, value, pads=pads, mode=call.attrs["mode"]),)


def _resize(call: Call) -> Values | None:
    attrs = call.attrs
    plain = not attrs.get("antialias") and not attrs.get("axes")
    plain = plain and attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    transformation = attrs.get("coordinate_transformation_mode", "asymmetric")
    if not plain or transformation not in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"):
        return None
    modes = {"mode": attrs.get("mode", "nearest"), "nearest_mode": attrs.get("nearest_mode", "floor")}
    if modes["mode"] != "nearest" and (modes["mode"] != "linear" or call.input(0).dtype != np.float32):
        return None
    return (_resized(call, {"coordinate_transformation_mode": transformation, **modes}),)


def _resized(call: Call, modes: dict[str, str]) -> Value:
    x = call.input(0)
    # Upsample and the first Resize have scales as input 1; later ones put the region of interest there.
    place = 1 if call.operation.op == "Upsample" or call.operation.version < 11 else 2
    given = call.optional(place)
    scales = [] if given is None else static(given).astype(np.float64).tolist()
    if scales:
        need_numbers("scales", scales, len(x.shape))
        shape = tuple(int(np.floor(size * scale)) for size, scale in zip(x.shape, scales, strict=True))
    else:
        shape = tuple(int(size) for size in static(call.input(3)))
        need_numbers("sizes", shape, len(x.shape))
        scales = [after / before for after, before in zip(shape, x.shape, strict=True)]
    return call.emit("Resize", x, shape=shape, scales=tuple(scales), **modes)


def _constant_of_shape(call: Call) -> Values | None:
    value = call.attrs.get("value", np.zeros(1, np.float32))
    return (call.emit("ConstantOfShape", call.input(0), value=value),)


FORMS = (
    Form(("Transpose",), _transpose),
    Form(("Slice",), _slice),
    Form(("Split",), _split),
    Form(("Concat",), _concat),
    Form(("Gather", "GatherElements"), _gather),
    Form(("GatherND",), _gather_by_tuples),
    Form(("Expand",), _expand),
    Form(("Tile",), _tile),
    Form(("Pad",), _pad),
    Form(("Resize", "Upsample"), _resize),
    Form(("ConstantOfShape",), _constant_of_shape),
)
