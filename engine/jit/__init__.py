"""How Python becomes machine code: the only room that knows Numba and LLVM.

target.py       instruction set level -> a private Numba target with exactly those CPU features
library.py      linking inner functions into kernels
cross.py        the same for machines that are not here, to assembly text
tile_permission.py  asking the system for AMX tiles
code_cache.py   compiled code on disk, stamped with everything it depends on
decorators.py   kernel (fixed C signature, called by address), compiled (called from Python), inner (inlined)
vector.py       64-byte vectors as ordinary local variables, with operators
instruction.py  one intrinsic per machine instruction
"""

from llvmlite import ir

from engine.jit.decorators import Kernel, compiled, inner, kernel
from engine.jit.instruction import call_by_address, instruction, record
from engine.jit.target import (
    IsaLevel,
    active_features,
    active_level,
    check_level,
    detected_level,
    known_levels,
    tile_permission,
)
from engine.jit.vector import F32, I32, MASK

__all__ = [
    "F32",
    "I32",
    "MASK",
    "IsaLevel",
    "Kernel",
    "active_features",
    "active_level",
    "call_by_address",
    "check_level",
    "compiled",
    "detected_level",
    "inner",
    "instruction",
    "ir",
    "kernel",
    "known_levels",
    "record",
    "tile_permission",
]
