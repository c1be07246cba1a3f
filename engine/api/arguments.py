"""Checking what users pass to an engine: options once, inputs on every request."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.errors import InputTypeError, OptionError, OptionTypeError, TensorError
from engine.frontend import Model, ModelInput
from engine.kernels.row import Array
from engine.lowering.choose import check_family

log = logging.getLogger("sparselane")

Dims = tuple[int, ...]
UNKNOWN = -1
PRECISIONS = ("f32", "bf16")


def check_count(name: str, value: object) -> int | None:
    """A whole number that may be None or 0 ("the engine decides").

    Raises OptionTypeError for another type, OptionError for a negative number.
    """
    if value is None or (isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value == 0):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        message = f"{name} must be an integer or None; got {type(value).__name__} {value!r}."
        raise OptionTypeError(message)
    if value < 0:
        message = f"{name} must be greater than 0; got {value}."
        raise OptionError(message)
    return int(value)


def check_precision(value: object) -> str:
    """What products of float32 may be computed in. Raises OptionError."""
    if value not in PRECISIONS:
        message = f"precision must be one of {', '.join(PRECISIONS)}; got {value!r}."
        raise OptionError(message)
    return str(value)


def check_kernel(value: object) -> str | None:
    """The family of product kernels that is asked for, if one is. Raises OptionError."""
    return None if value is None else check_family(str(value), "kernel")


def check_batch(value: object) -> int | None:
    """The batch size; None, 0 and negative numbers leave the model's own batch."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
        message = f"batch_size must be an integer or None; got {type(value).__name__} {value!r}."
        raise OptionTypeError(message)
    if value is not None and value < 1:
        log.warning("batch_size < 1, override disabled: the model's own batch is used")
        return None
    return None if value is None else int(value)


def given_shapes(model: Model, input_shapes: Sequence[Any] | None) -> list[Dims] | None:
    """`input_shapes` as one shape for every input.

    Raises OptionError for another number of shapes, another rank, or sizes that are no positive integers.
    """
    if not input_shapes:
        return None
    flat = all(isinstance(size, (int, np.integer)) for size in input_shapes)
    shapes = [tuple(input_shapes)] if flat else [tuple(shape) for shape in input_shapes]
    if len(shapes) == 1:
        shapes = shapes * len(model.inputs)
    if len(shapes) != len(model.inputs):
        message = f"input_shapes has {len(shapes)} shapes; the model has {len(model.inputs)} inputs."
        raise OptionError(message)
    for entry, shape in zip(model.inputs, shapes, strict=True):
        if len(shape) != len(entry.dims) or any(int(size) < 1 for size in shape):
            message = f"input_shapes gives {list(shape)} for input {entry.name!r}; the model takes {list(entry.dims)}."
            raise OptionError(message)
    return [tuple(int(size) for size in shape) for shape in shapes]


def declared_shape(entry: ModelInput, batch: int | None, given: Dims | None) -> Dims:
    """The shape an engine expects of an input: overrides over the file's own numbers; -1 where neither says."""
    dims = (
        given
        if given is not None
        else tuple(size if isinstance(size, int) else UNKNOWN for size in entry.dims)
    )
    return (batch, *dims[1:]) if batch is not None and dims else dims


def check_list(arrays: object) -> None:
    """The predecessor's rule: inputs come as a list of C-contiguous arrays. Raises InputTypeError."""
    if not isinstance(arrays, list):
        message = f"the inputs must be a list of arrays; got {type(arrays).__name__}."
        raise InputTypeError(message)
    for i, array in enumerate(arrays):
        if isinstance(array, np.ndarray) and not array.flags.c_contiguous:
            message = f"input {i} is not C-contiguous; call numpy.ascontiguousarray on it."
            raise InputTypeError(message)


def check_arrays(model: Model, expected: Sequence[Dims], batch: int | None, arrays: Sequence[Any]) -> None:
    """Count, batch, dtype and shape of a request's inputs. Raises TensorError."""
    if len(arrays) != len(model.inputs):
        message = f"the model has {len(model.inputs)} inputs ({', '.join(model.input_names)}); got {len(arrays)} arrays."
        raise TensorError(message)
    for entry, shape, array in zip(model.inputs, expected, arrays, strict=True):
        found = getattr(array, "shape", None)
        if found == shape and array.dtype == entry.dtype:
            continue
        _check_array(entry, shape, batch, array)


def _check_array(entry: ModelInput, shape: Dims, batch: int | None, array: Array) -> None:
    if not isinstance(array, np.ndarray):
        message = f"input {entry.name!r} must be a numpy array; got {type(array).__name__}."
        raise InputTypeError(message)
    if batch is not None and array.ndim and array.shape[0] != batch:
        message = (
            f"input {entry.name!r} has batch size {array.shape[0]}; the engine was compiled for batch_size={batch}. "
            "Pass a batch of that size, or compile with another batch_size."
        )
        raise TensorError(message)
    if array.dtype != entry.dtype:
        message = f"input {entry.name!r} has dtype {array.dtype}; the model takes {entry.dtype}. Convert with .astype."
        raise TensorError(message)
    fits = array.ndim == len(shape) and all(
        want in (UNKNOWN, size) for want, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        message = f"input {entry.name!r} has shape {array.shape}; expected {shape} (-1: any size)."
        raise TensorError(message)
