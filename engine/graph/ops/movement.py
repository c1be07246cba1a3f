"""Moving elements without computing: the canonical forms that the frontend writes.

Reshape, Expand     `shape`: the result's, static
Slice               `axes`, `starts`, `ends`, `steps`: counted from the front;
                    with a negative step an end of -1 means past 0
Transpose           `perm`
Pad                 `pads` (begins, then ends, all axes), `mode`; input 1 is the padding value
take_positions      (x[..., k], places i64[n]): row i of the result is the row places[i] of x, k numbers; `shape`
"""

from __future__ import annotations

import math

import numpy as np

from engine.graph.ir import Array
from engine.graph.ops._row import (
    INT64,
    Attrs,
    Inputs,
    Op,
    Shape,
    common_dtype,
    first_dtype,
    first_shape,
    fixed_dtype,
    given,
    need,
    present,
)

MANY = 1 << 16


def _reshape_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    before, after = given(inputs, 0).shape, tuple(attrs["shape"])
    need(int(np.prod(before)) == int(np.prod(after)), f"cannot reshape {list(before)} to {list(after)}")
    return (after,)


def _transpose_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape, perm = given(inputs, 0).shape, attrs["perm"]
    need(sorted(perm) == list(range(len(shape))), f"perm {perm} does not fit rank {len(shape)}")
    return (tuple(shape[axis] for axis in perm),)


def _windows(attrs: Attrs, rank: int) -> tuple[slice, ...]:
    windows = [slice(None)] * rank
    for axis, start, end, step in zip(
        attrs["axes"], attrs["starts"], attrs["ends"], attrs["steps"], strict=True
    ):
        windows[axis] = slice(start, None if end < 0 else end, step)
    return tuple(windows)


def _slice_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape = given(inputs, 0).shape
    windows = _windows(attrs, len(shape))
    return (tuple(len(range(*window.indices(size))) for size, window in zip(shape, windows, strict=True)),)


def _concat_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shapes, axis = [value.shape for value in present(inputs)], attrs["axis"]
    frames = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    need(len(frames) == 1, f"shapes {shapes} cannot be joined on axis {axis}")
    return ((*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]),)


def _gather(attrs: Attrs, table: Array, indices: Array) -> tuple[Array, ...]:
    # mode="raise" wraps a negative index once and refuses what is out of range, as the operator does.
    return (np.take(table, indices, axis=attrs["axis"], mode="raise"),)


def _gather_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape, axis = given(inputs, 0).shape, attrs["axis"]
    return ((*shape[:axis], *given(inputs, 1).shape, *shape[axis + 1 :]),)


def _gather_elements(attrs: Attrs, table: Array, indices: Array) -> tuple[Array, ...]:
    axis = attrs["axis"]
    wrapped = np.where(indices < 0, indices + table.shape[axis], indices)
    window = tuple(slice(None) if a == axis else slice(size) for a, size in enumerate(indices.shape))
    return (np.take_along_axis(table[window], wrapped, axis),)


def _gather_by_tuples(attrs: Attrs, x: Array, indices: Array) -> tuple[Array, ...]:
    batch, depth = attrs["batch_dims"], indices.shape[-1]
    leading = x.shape[:batch]
    tables = x.reshape(-1, *x.shape[batch:])
    chosen = indices.reshape(-1, *indices.shape[batch:])
    rows = [table[tuple(np.moveaxis(choice, -1, 0))] for table, choice in zip(tables, chosen, strict=True)]
    return (np.asarray(rows, x.dtype).reshape(*leading, *indices.shape[batch:-1], *x.shape[batch + depth :]),)


def _tuples_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape, chosen = given(inputs, 0).shape, given(inputs, 1).shape
    return ((*chosen[:-1], *shape[attrs["batch_dims"] + chosen[-1] :]),)


def _expand_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    target = tuple(attrs["shape"])
    need(np.broadcast_shapes(given(inputs, 0).shape, target) == target, f"cannot expand to {list(target)}")
    return (target,)


def _pad(attrs: Attrs, x: Array, value: Array | None = None) -> tuple[Array, ...]:
    rank = x.ndim
    pads = attrs["pads"]
    # A negative pad cuts.
    cut = tuple(slice(max(-pads[a], 0), x.shape[a] - max(-pads[a + rank], 0)) for a in range(rank))
    widths = [(max(pads[a], 0), max(pads[a + rank], 0)) for a in range(rank)]
    if attrs["mode"] == "constant":
        fill = np.zeros((), x.dtype) if value is None else value.reshape(())
        return (np.pad(x[cut], widths, constant_values=fill),)
    mode = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[attrs["mode"]]
    return (np.pad(x[cut], widths, mode=mode),)  # type: ignore[call-overload]


def _pad_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    shape, pads = given(inputs, 0).shape, attrs["pads"]
    return (tuple(size + pads[a] + pads[a + len(shape)] for a, size in enumerate(shape)),)


def _trilu(attrs: Attrs, x: Array, k: Array | None = None) -> tuple[Array, ...]:
    diagonal = 0 if k is None else int(k.reshape(()))
    return (np.triu(x, diagonal) if attrs["upper"] else np.tril(x, diagonal),)


def _tile_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    return (
        tuple(size * count for size, count in zip(given(inputs, 0).shape, attrs["repeats"], strict=True)),
    )


def _fill(attrs: Attrs, shape: Array) -> tuple[Array, ...]:
    value = attrs["value"].reshape(())
    return (np.full(tuple(shape.tolist()), value, value.dtype),)


def _filled_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape | None, ...]:
    sizes = given(inputs, 0).array
    return (None if sizes is None else tuple(int(size) for size in sizes),)


def _range_shape(_attrs: Attrs, inputs: Inputs) -> tuple[Shape | None, ...]:
    ends = [given(inputs, index).array for index in range(3)]
    need(
        all(math.prod(value.shape) == 1 for value in present(inputs)),
        "start, limit and step are one number each",
    )
    if any(end is None for end in ends):
        return (None,)
    start, limit, delta = (end.item() for end in ends if end is not None)
    need(delta != 0, "the step of a Range is 0")
    return ((max(math.ceil((limit - start) / delta), 0),),)


def _shape(attrs: Attrs, x: Array) -> tuple[Array, ...]:
    return (np.asarray(x.shape[attrs.get("start", 0) : attrs.get("end")], np.int64),)


def _rank_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    return ((len(given(inputs, 0).shape[attrs.get("start", 0) : attrs.get("end")]),),)


def _taken(attrs: Attrs, x: Array, places: Array) -> tuple[Array, ...]:
    return (x.reshape(-1, x.shape[-1])[places].reshape(attrs["shape"]),)


def _taken_shape(attrs: Attrs, inputs: Inputs) -> tuple[Shape, ...]:
    x, places, shape = given(inputs, 0), given(inputs, 1), tuple(attrs["shape"])
    need(places.array is not None and places.dtype == INT64, "places must be constant int64")
    need(
        shape[-1:] == x.shape[-1:] and math.prod(shape[:-1]) == places.shape[0], f"no {list(shape)} of places"
    )
    return (shape,)


ROWS = (
    Op(
        "Concat",
        lambda attrs, *xs: (np.concatenate(xs, attrs["axis"]),),
        common_dtype,
        _concat_shape,
        (1, MANY),
    ),
    Op("ConstantOfShape", _fill, lambda attrs, _inputs: (attrs["value"].dtype,), _filled_shape),
    Op("Expand", lambda attrs, x: (np.broadcast_to(x, attrs["shape"]).copy(),), first_dtype, _expand_shape),
    Op("Gather", _gather, first_dtype, _gather_shape, (2, 2)),
    Op("GatherND", _gather_by_tuples, first_dtype, _tuples_shape, (2, 2)),
    Op("GatherElements", _gather_elements, first_dtype, lambda _a, inputs: (given(inputs, 1).shape,), (2, 2)),
    Op("Pad", _pad, first_dtype, _pad_shape, (1, 2)),
    Op(
        "Range",
        lambda _attrs, start, limit, delta: (np.arange(start, limit, delta, dtype=start.dtype),),
        first_dtype,
        _range_shape,
        (3, 3),
    ),
    Op("Reshape", lambda attrs, x: (x.reshape(attrs["shape"]),), first_dtype, _reshape_shape),
    Op("Shape", _shape, fixed_dtype(INT64), _rank_shape),
    Op(
        "Size",
        lambda _attrs, x: (np.asarray(x.size, np.int64),),
        fixed_dtype(INT64),
        lambda _a, _inputs: ((),),
    ),
    Op("Slice", lambda attrs, x: (x[_windows(attrs, x.ndim)],), first_dtype, _slice_shape),
    Op("take_positions", _taken, first_dtype, _taken_shape, (2, 2), attributes=frozenset({"shape"})),
    Op("Tile", lambda attrs, x: (np.tile(x, attrs["repeats"]),), first_dtype, _tile_shape),
    Op("Transpose", lambda attrs, x: (np.transpose(x, attrs["perm"]),), first_dtype, _transpose_shape),
    Op("Trilu", _trilu, first_dtype, first_shape, (1, 2)),
)
