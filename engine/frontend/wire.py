"""The wire format of protocol buffers, as far as finding the bytes of weights takes.

    field        tag (number << 3 | kind), then   kind 0: a varint   1: 8 bytes   2: length, bytes   5: 4 bytes
    ModelProto   7 graph -> GraphProto   5 initializer -> TensorProto   9 raw_data

Parsing a model copies its weights; what `lighten` leaves of it parses in no time.
Sources: protobuf.dev/programming-guides/encoding, and onnx.proto for the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_VARINT, _BYTES = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
# Smaller tensors stay where they are.
LEAST_BYTES = 1 << 16


class Span(NamedTuple):
    """Bytes `begin` to `end` of a file."""

    begin: int
    end: int


class _Field(NamedTuple):
    """A field, its tag at `begin`; what it holds from `value` on."""

    number: int
    begin: int
    value: int
    end: int


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """The number at `place`, and where it ends. Raises ValueError, or IndexError at the end of the bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    message = "a number of more than ten bytes"
    raise ValueError(message)


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _fields(content: memoryview, begin: int, end: int) -> Iterator[_Field]:
    """The fields of one message. Raises ValueError where it is cut off or of another format."""
    while begin < end:
        tag, place = _varint(content, begin)
        kind = tag & 7
        if kind == _BYTES:
            size, place = _varint(content, place)
            after = place + size
        elif kind == _VARINT:
            _, after = _varint(content, place)
        else:
            after = place + _FIXED_BYTES[kind]
        if after > end:
            message = "a field goes on after the end"
            raise ValueError(message)
        yield _Field(tag >> 3, begin, place, after)
        begin = after


def lighten(content: memoryview) -> tuple[bytes, dict[int, Span]]:
    """A model's bytes without the large weights, and where those are, by the index of their initialiser.

    Raises ValueError, IndexError or KeyError for bytes that are no whole message.
    """
    spans: dict[int, Span] = {}
    count = 0
    model: list[bytes | memoryview] = []
    for field in _fields(content, 0, len(content)):
        if field.number != _GRAPH:
            model.append(content[field.begin : field.end])
            continue
        graph: list[bytes | memoryview] = []
        for part in _fields(content, field.value, field.end):
            kept: bytes | memoryview = content[part.begin : part.end]
            if part.number == _INITIALIZER:
                if part.end - part.value >= LEAST_BYTES:
                    kept, raw = _without_raw(content, part)
                    spans |= {count: raw} if raw is not None else {}
                count += 1
            graph.append(kept)
        model.append(_message(_GRAPH, graph))
    return b"".join(model), spans


def _without_raw(content: memoryview, tensor: _Field) -> tuple[bytes, Span | None]:
    kept: list[bytes | memoryview] = []
    raw = None
    for field in _fields(content, tensor.value, tensor.end):
        if field.number == _RAW_DATA and field.end - field.value >= LEAST_BYTES:
            raw = Span(field.value, field.end)
        else:
            kept.append(content[field.begin : field.end])
    return _message(_INITIALIZER, kept), raw


def _message(number: int, parts: list[bytes | memoryview]) -> bytes:
    size = sum(map(len, parts))
    return b"".join([_encoded(number << 3 | _BYTES), _encoded(size), *parts])
