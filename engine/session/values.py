"""OrtValue: an array in ONNX Runtime's wrapper."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from engine.errors import InputTypeError, OptionError, first_line
from engine.kernels.row import Array

# ONNX's element types that NumPy has, by their number in a file and their word in a type string.
ELEMENTS = (
    (1, "float", np.float32),
    (2, "uint8", np.uint8),
    (3, "int8", np.int8),
    (4, "uint16", np.uint16),
    (5, "int16", np.int16),
    (6, "int32", np.int32),
    (7, "int64", np.int64),
    (8, "string", np.object_),
    (9, "bool", np.bool_),
    (10, "float16", np.float16),
    (11, "double", np.float64),
    (12, "uint32", np.uint32),
    (13, "uint64", np.uint64),
)
_WORDS = {np.dtype(dtype): word for _, word, dtype in ELEMENTS}
_NUMBERS = {np.dtype(dtype): number for number, _, dtype in ELEMENTS}
_DTYPES = {number: np.dtype(dtype) for number, _, dtype in ELEMENTS}


def type_string(dtype: np.dtype[Any]) -> str:
    """`tensor(float)` for float32, and so on."""
    return f"tensor({_WORDS.get(dtype, dtype.name)})"


def dtype_of(element: Any) -> np.dtype[Any]:
    """The dtype of an ONNX element number, or of anything NumPy takes. Raises OptionError."""
    if isinstance(element, int) and element in _DTYPES:
        return _DTYPES[element]
    try:
        found: np.dtype[Any] = np.dtype(element)
    except TypeError as error:
        message = f"{element!r} is not an element type."
        raise OptionError(message) from error
    return found


def check_device(device_type: str) -> None:
    """Raises OptionError for any device but the CPU."""
    if str(device_type).lower() not in ("cpu", "default"):
        message = f"device {device_type!r} is not served; this engine runs on the CPU."
        raise OptionError(message)


def array_at(address: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """The memory at an address as an array, without a copy; who passes the address keeps it alive."""
    size = int(np.prod(shape)) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    buffer = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(memoryview(buffer), dtype=dtype).reshape(shape)


class OrtValue:
    """A tensor; the array inside is shared, not copied."""

    def __init__(self, array: Array) -> None:
        self._array = array

    @staticmethod
    def ortvalue_from_numpy(array: Array, device_type: str = "cpu", device_id: int = 0) -> OrtValue:  # noqa: ARG004
        """Wrap an array. Raises InputTypeError for anything else, OptionError for another device than the CPU."""
        check_device(device_type)
        if not isinstance(array, np.ndarray):
            message = f"an OrtValue is made of a numpy array; got {type(array).__name__}."
            raise InputTypeError(message)
        return OrtValue(np.asarray(array, order="C"))

    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Any,
        element_type: Any,
        device_type: str = "cpu",
        device_id: int = 0,  # noqa: ARG004 - ONNX Runtime's
    ) -> OrtValue:
        """A tensor of this shape, its content undefined."""
        check_device(device_type)
        return OrtValue(np.empty(tuple(shape), dtype_of(element_type)))

    def numpy(self) -> Array:
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._array, dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def shape(self) -> list[int]:
        return list(self._array.shape)

    def data_type(self) -> str:
        return type_string(self._array.dtype)

    def element_type(self) -> int:
        """The number of ONNX's TensorProto.DataType."""
        return _NUMBERS[self._array.dtype]

    def data_ptr(self) -> int:
        return int(self._array.ctypes.data)

    def device_name(self) -> str:
        return "cpu"

    def is_tensor(self) -> bool:
        return True

    def has_value(self) -> bool:
        return True

    def update_inplace(self, array: Array) -> None:
        """Copy an array of the same shape and dtype into the tensor's memory."""
        if array.shape != self._array.shape or array.dtype != self._array.dtype:
            message = (
                f"the tensor is {self._array.dtype} {self._array.shape}; got {array.dtype} {array.shape}."
            )
            raise InputTypeError(message)
        self._array[...] = array


def array_of(value: Any, dtype: np.dtype[Any]) -> Array:
    """A fed value as a C-contiguous array: of an array, an OrtValue, or (converted) lists and numbers.

    Raises InputTypeError for what makes no array.
    """
    if isinstance(value, OrtValue):
        value = value.numpy()
    if not isinstance(value, np.ndarray):
        try:
            value = np.asarray(value, dtype=None if isinstance(value, np.generic) else dtype)
        except (TypeError, ValueError) as error:
            message = f"{type(value).__name__} makes no array of {dtype} ({first_line(error)}); give numbers in even rows."
            raise InputTypeError(message) from error
    return value if value.flags.c_contiguous else np.ascontiguousarray(value)
