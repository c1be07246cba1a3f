"""A packed weight as a file that can be mapped and used where it lies.

    0     magic, 8 bytes
    8     u32 version of this format | u32 bytes of the description
    16    u64 bytes of the file
    24    40 bytes: BLAKE2b over everything else (over the arrays: over their checksum)
    64    description, JSON, filled with blanks up to a whole block of 512 bytes:
          key, plain fields, and each array's dtype, shape, place and bytes
    ...   arrays, each on a whole block, zeros between and one block after the last

Nothing in a file is used before its sizes, key and checksum are right; what is not right is no file.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib.format import descr_to_dtype, dtype_to_descr

from engine.kernels.checksum.rows import BLOCK, checksum
from engine.kernels.row import aligned
from engine.machine.mapping import forget_pages, map_file
from engine.plan.steps import Array

MAGIC = b"SLPACKED"
FORMAT = 1
_PREFIX = struct.Struct("<8sIIQ40s")

Packed = TypeVar("Packed")


def _whole_blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def encode(key: str, value: Any) -> Array:
    """The file's bytes for a frozen dataclass of arrays and plain fields."""
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    arrays = {name: field for name, field in fields.items() if isinstance(field, np.ndarray)}
    plain = {name: field for name, field in fields.items() if name not in arrays}
    described, place = {}, 0
    for name, array in arrays.items():
        described[name] = {
            "dtype": repr(dtype_to_descr(array.dtype)),
            "shape": array.shape,
            "place": place,
            "bytes": array.nbytes,
        }
        place += _whole_blocks(array.nbytes)
    text = json.dumps({"key": key, "plain": plain, "arrays": described}).encode()
    text = text.ljust(_whole_blocks(_PREFIX.size + len(text)) - _PREFIX.size)
    first = _PREFIX.size + len(text)
    content = aligned(first + place + BLOCK, np.uint8)
    for name, array in arrays.items():
        begin = first + described[name]["place"]
        content[begin : begin + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    head = (MAGIC, FORMAT, len(text), content.size)
    content[_PREFIX.size : first] = np.frombuffer(text, np.uint8)
    digest = _digest(head, text, content[first:])
    content[: _PREFIX.size] = np.frombuffer(_PREFIX.pack(*head, digest), np.uint8)
    return content


def _digest(head: tuple[bytes, int, int, int], text: bytes, arrays: Array) -> bytes:
    whole = hashlib.blake2b(digest_size=40)
    whole.update(_PREFIX.pack(*head, b""))
    whole.update(text)
    whole.update(checksum(arrays))
    return whole.digest()


def write(file: BinaryIO, key: str, value: Any) -> None:
    """Write the packed weight. Raises OSError."""
    file.write(encode(key, value).data)


def read(path: Path, key: str, kind: type[Packed]) -> Packed | None:
    """The packed weight of that key, its arrays mapped from the file; None when the file is not exactly that.

    Raises OSError when there is no such file, or it cannot be mapped.
    """
    content = map_file(path)
    if content is None:
        return None
    found = decode(content, key, kind)
    # The checksum has read every page; requests may need few of them.
    forget_pages(content)
    return found


def decode(content: Array, key: str, kind: type[Packed]) -> Packed | None:
    """What `encode` was given, over `content`; None for any other bytes or another key."""
    if content.size < _PREFIX.size or content.size % BLOCK != 0:
        return None
    magic, version, text_bytes, size, digest = _PREFIX.unpack(content[: _PREFIX.size].tobytes())
    first = _PREFIX.size + text_bytes
    if magic != MAGIC or version != FORMAT or size != content.size or first % BLOCK != 0 or first > size:
        return None
    text, arrays = content[_PREFIX.size : first].tobytes(), content[first:]
    if _digest((magic, version, text_bytes, size), text, arrays) != digest:
        return None
    try:
        return _described(json.loads(text), key, kind, arrays)
    except (ValueError, KeyError, TypeError, SyntaxError):
        # Whole, but not of our making.
        return None


def _described(description: Mapping[str, Any], key: str, kind: type[Packed], arrays: Array) -> Packed | None:
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if description["key"] != key or names != {*description["plain"], *description["arrays"]}:
        return None
    made = {name: _array(entry, arrays) for name, entry in description["arrays"].items()}
    return kind(**description["plain"], **made)


def _array(entry: Mapping[str, Any], arrays: Array) -> Array:
    dtype = descr_to_dtype(ast.literal_eval(entry["dtype"]))
    begin, size, shape = int(entry["place"]), int(entry["bytes"]), tuple(entry["shape"])
    if begin % BLOCK != 0 or dtype.hasobject or begin < 0 or begin + size > arrays.size:
        message = "an array lies outside of its file"
        raise ValueError(message)
    # numpy raises ValueError when bytes, dtype and shape disagree.
    return arrays[begin : begin + size].view(dtype).reshape(shape)
