"""A file's bytes as an array that is not read before it is used, and shared with other processes.

Python's own `mmap` keeps a file descriptor open for every mapping: a model has hundreds of weights.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_IS_POSIX = os.name == "posix" and sys.maxsize > 2**32
_PROT_READ, _MAP_SHARED, _FAILED = 1, 1, 2**64 - 1
_MADV_DONTNEED = 4


def map_file(path: Path) -> NDArray[np.uint8] | None:
    """The file's bytes, read-only, unmapped when the last array over them is gone; None for an empty file.

    Raises OSError when there is no such file, or it cannot be mapped.
    """
    if not _IS_POSIX:
        return np.memmap(path, np.uint8, "r") if path.stat().st_size else None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        return _mapped(descriptor, size) if size else None
    finally:
        os.close(descriptor)


def forget_pages(content: NDArray[np.uint8]) -> None:
    """Take a whole mapped file out of this process's memory; its bytes stay readable."""
    if _IS_POSIX and content.size:
        _library().madvise(content.ctypes.data, content.size, _MADV_DONTNEED)


def _library() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return library


def _mapped(descriptor: int, size: int) -> NDArray[np.uint8]:
    library = _library()
    address = library.mmap(None, size, _PROT_READ, _MAP_SHARED, descriptor, 0)
    if address in (None, _FAILED):
        raise OSError(ctypes.get_errno(), "mmap failed")
    content = (ctypes.c_uint8 * size).from_address(address)
    weakref.finalize(content, library.munmap, address, size)
    array: NDArray[np.uint8] = np.ctypeslib.as_array(content)
    array.flags.writeable = False
    return array
