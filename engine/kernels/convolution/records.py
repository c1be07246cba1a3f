"""Records of kernels that other kernels call: copied to scratch, and changed there."""

from __future__ import annotations

from engine.jit import call_by_address, inner
from engine.kernels.simd.memory import read_i64, write_i64

# A kernel by its address: record, first tile, the one behind the last, scratch.
run_kernel = call_by_address(4)


def whole_lines(size: int) -> int:
    """Bytes that a record takes in scratch."""
    return -(-size // 64) * 64


@inner
def copy_record(x: int, y: int, size: int) -> None:
    """So many bytes, a multiple of eight."""
    for at in range(0, size, 8):
        write_i64(read_i64(x + at), y + at)


@inner
def add_to(place: int, number: int) -> None:
    """Change a field."""
    write_i64(read_i64(place) + number, place)


@inner
def move_on(place: int, bytes_on: int) -> None:
    """Change an address, unless it is 0, which stands for none."""
    if read_i64(place) != 0:
        add_to(place, bytes_on)
