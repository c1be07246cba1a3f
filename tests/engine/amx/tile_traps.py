"""AMX on a CPU without it: each tile instruction raises SIGILL, and the handler here does what it would have done.

    SIGILL -> decode the bytes at rip -> execute on the thread's place (`tile_state`) -> rip past the instruction

The handler is machine code that allocates nothing and knows no Python; any thread may trap at any time.
What is no tile instruction goes to the handler that was there before: a crash stays a crash. What a
processor would refuse (tiles that are not configured, operands of other shapes) is counted and skipped.

Instructions are found by their VEX encoding: C4, map 0F38, W 0, L 0, opcode 49 (configuration, zero), 4B (memory),
5C (bfloat16), 5E (bytes).
"""

from __future__ import annotations

import ctypes
import signal
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, types
from tile_state import (
    CONFIGURATION,
    LONG,
    OWNER,
    PLACE_BYTES,
    PLACES,
    WORD,
    configure,
    count_one,
    inner,
    is_configuration,
    load_tile,
    multiply_bf16,
    multiply_ss,
    multiply_su,
    multiply_us,
    multiply_uu,
    operation,
    read_byte,
    read_long,
    read_signed_byte,
    read_signed_word,
    store_tile,
    take_place,
    write_long,
    zero_tile,
)

# Words before the threads' places.
EXECUTED, REFUSED, PREVIOUS, HEADER_BYTES = 0, 8, 64, 256
# ucontext_t of Linux on x86-64: saved registers, by the numbers that instructions use, and rip.
_REGISTERS, _RIP = 40, 40 + 8 * 16
_RAX, _RCX, _RDX, _RBX, _RSP, _RBP, _RSI, _RDI = 13, 14, 12, 11, 15, 10, 9, 8
_SIGINFO, _NODEFER = 4, 0x40000000
NONE, P66, PF3, PF2 = 0, 1, 2, 3


def _symbol(builder: ir.IRBuilder, name: str, arguments: list[Any], result: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def _base(builder: ir.IRBuilder) -> Any:
    name = "tile_places"
    found = builder.module.globals.get(name)
    if found is None:
        found = ir.GlobalVariable(builder.module, LONG, name)
        found.linkage, found.initializer = "internal", LONG(0)
    return found


_thread = operation(0, types.int64, lambda b: _symbol(b, "pthread_self", [], LONG))
_restore = operation(
    1,
    types.void,
    lambda b, previous: (
        _symbol(b, "sigaction", [WORD(int(signal.SIGILL)), previous, LONG(0)], WORD),
        None,
    )[1],
)
# A variable of the compiled code itself: code from the disk has no constants of this process.
_remember = operation(1, types.void, lambda b, base: (b.store(base, _base(b)), None)[1])
_remembered = operation(0, types.int64, lambda b: b.load(_base(b)))


@inner
def _register(context: int, number: int) -> int:
    place = number - 8
    if number < 8:
        order = (_RAX, _RCX, _RDX, _RBX, _RSP, _RBP, _RSI, _RDI)
        place = order[number]
    value: int = read_long(context + _REGISTERS + 8 * place)
    return value


@inner
def _operand(context: int, at: int) -> Any:
    """(base + displacement, index * scale, bytes of ModRM, SIB and displacement) of the memory operand of an instruction."""
    extension, modrm = read_byte(at + 1), read_byte(at + 4)
    mode, low = modrm >> 6, modrm & 7
    length, high_base, high_index = 1, 8 - (extension >> 5 & 1) * 8, 8 - (extension >> 6 & 1) * 8
    offset, number = 0, low + high_base
    if low == 4:
        sib, length = read_byte(at + 5), 2
        number = (sib & 7) + high_base
        if (sib >> 3 & 7) + high_index != 4:
            offset = _register(context, (sib >> 3 & 7) + high_index) << (sib >> 6)
    if mode == 0 and number & 7 == 5:
        # No base; without an index either it is rip, behind the instruction.
        base = at + 4 + length + 4 if low != 4 else 0
        return base + read_signed_word(at + 4 + length), offset, length + 4
    base = _register(context, number)
    if mode == 1:
        return base + read_signed_byte(at + 4 + length), offset, length + 1
    if mode == 2:
        return base + read_signed_word(at + 4 + length), offset, length + 4
    return base, offset, length


@inner
def _place_of(base: int, thread: int) -> int:
    """The thread's place, or 0: its tiles are not configured."""
    for i in range(PLACES):
        place: int = base + HEADER_BYTES + i * PLACE_BYTES
        if read_long(place + OWNER) == thread:
            return place
    return 0


@inner
def _new_place(base: int, thread: int) -> int:
    place: int = _place_of(base, thread)
    for i in range(PLACES):
        free = base + HEADER_BYTES + i * PLACE_BYTES
        if place == 0 and take_place(free + OWNER, thread):
            place = free
    return place


@inner
def _release(place: int) -> None:
    if place != 0:
        write_long(0, place + OWNER)


@inner
def _store_configuration(place: int, address: int) -> None:
    for i in range(0, 64, 8):
        write_long(read_long(place + CONFIGURATION + i) if place != 0 else 0, address + i)


@inner
def _load_configuration(base: int, thread: int, address: int) -> bool:
    if read_byte(address) == 0:
        _release(_place_of(base, thread))
        return True
    if not is_configuration(address):
        return False
    place = _new_place(base, thread)
    if place != 0:
        configure(place, address)
    return place != 0


@inner
def _configuration(context: int, at: int, base: int, prefix: int) -> Any:
    """ldtilecfg, sttilecfg, tilerelease, tilezero: (bytes behind the opcode, or 0 if it is none of them; accepted)."""
    thread, modrm = _thread(), read_byte(at + 4)
    place, length, accepted = _place_of(base, thread), 0, True
    if modrm >> 6 == 3:
        if prefix == NONE and modrm == 0xC0:
            length = 1
            _release(place)
        elif prefix == PF2 and modrm & 7 == 0:
            length, accepted = 1, place != 0 and zero_tile(place, modrm >> 3 & 7)
    elif modrm >> 3 & 7 == 0 and prefix <= P66:
        address, offset, length = _operand(context, at)
        if prefix == P66:
            _store_configuration(place, address + offset)
        else:
            accepted = _load_configuration(base, thread, address + offset)
    return length, accepted


@inner
def _memory(context: int, at: int, base: int, prefix: int) -> Any:
    """tileloadd, tileloaddt1, tilestored; as above."""
    modrm = read_byte(at + 4)
    if modrm >> 6 == 3 or modrm & 7 != 4 or prefix == NONE:
        return 0, False
    place, tile = _place_of(base, _thread()), modrm >> 3 & 7
    address, stride, length = _operand(context, at)
    if place == 0:
        return length, False
    if prefix == PF3:
        return length, store_tile(place, tile, address, stride)
    return length, load_tile(place, tile, address, stride)


@inner
def _multiply(at: int, base: int, prefix: int, opcode: int) -> Any:
    """The five products; as above."""
    modrm, c = read_byte(at + 4), read_byte(at + 4) >> 3 & 7
    a, b = modrm & 7, 15 - (read_byte(at + 2) >> 3 & 15)
    if modrm >> 6 != 3 or b > 7 or (opcode == 0x5C and prefix != PF3):
        return 0, False
    place = _place_of(base, _thread())
    if place == 0:
        return 1, False
    if opcode == 0x5C:
        return 1, multiply_bf16(place, c, a, b)
    if prefix == NONE:
        return 1, multiply_uu(place, c, a, b)
    if prefix == P66:
        return 1, multiply_us(place, c, a, b)
    return 1, multiply_su(place, c, a, b) if prefix == PF3 else multiply_ss(place, c, a, b)


@inner
def _execute(context: int, base: int) -> bool:
    """Execute the tile instruction at rip and go on behind it; False: there is none."""
    at = read_long(context + _RIP)
    second = read_byte(at + 2)
    if read_byte(at) != 0xC4 or read_byte(at + 1) & 31 != 2 or second & 0x84 != 0:
        return False
    opcode, prefix = read_byte(at + 3), second & 3
    if opcode == 0x49:
        length, accepted = _configuration(context, at, base, prefix)
    elif opcode == 0x4B:
        length, accepted = _memory(context, at, base, prefix)
    elif opcode in (0x5C, 0x5E):
        length, accepted = _multiply(at, base, prefix, opcode)
    else:
        return False
    if length == 0:
        return False
    count_one(base + (EXECUTED if accepted else REFUSED))
    write_long(at + 4 + length, context + _RIP)
    return True


@cfunc(types.void(types.int64, types.int64, types.int64), cache=True)  # type: ignore[untyped-decorator]
def _handler(number: int, information: int, context: int) -> None:
    """As sigaction calls it; with number 0 told where the places are (`information`)."""
    if number == 0:
        _remember(information)
    else:
        base = _remembered()
        if not _execute(context, base):
            # The instruction is tried again and finds the handler that was there before.
            _restore(base + PREVIOUS)


class _Action(ctypes.Structure):
    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint64 * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class TileTraps:
    """The handler at work; counts since it was installed, all threads together."""

    memory: np.ndarray[Any, Any]

    @property
    def executed(self) -> int:
        """Tile instructions that were carried out."""
        return int(self.memory[EXECUTED // 8])

    @property
    def refused(self) -> int:
        """Tile instructions that a processor would have answered with a fault."""
        return int(self.memory[REFUSED // 8])

    @property
    def configured(self) -> int:
        """Threads whose tiles are configured now."""
        owners = self.memory[HEADER_BYTES // 8 :: PLACE_BYTES // 8][:PLACES]
        return int(np.count_nonzero(owners))


def install() -> TileTraps:
    """Let tile instructions of this process be executed by the handler. Linux on x86-64."""
    raw = np.zeros((HEADER_BYTES + PLACES * PLACE_BYTES) // 8 + 8, np.int64)
    memory = raw[-raw.ctypes.data % 64 // 8 :]
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(_handler.address)(0, memory.ctypes.data, 0)
    action = _Action(_handler.address, (ctypes.c_uint64 * 16)(), _SIGINFO | _NODEFER, None)
    library = ctypes.CDLL(None, use_errno=True)
    previous = ctypes.c_void_p(memory.ctypes.data + PREVIOUS)
    if library.sigaction(int(signal.SIGILL), ctypes.byref(action), previous) != 0:
        raise OSError(ctypes.get_errno(), "sigaction")
    return TileTraps(memory)
