"""Activations as kernels of their own, over float32 in memory.

For a kernel that can neither leave its sums to a finisher nor should hold all activations: it calls one by address.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from engine.jit import Kernel, call_by_address, inner, kernel
from engine.kernels.products.activation import ACTIVATIONS, activated
from engine.kernels.products.epilogue import STORE_F32, epilogue_of, known_program
from engine.kernels.simd.memory import load_f32, store_f32

_ARGUMENTS = 3
_run = call_by_address(_ARGUMENTS)


def _activator(name: str, activation: int) -> Kernel:
    @kernel("activate", name, arguments=_ARGUMENTS)
    def activator(epilogue: int, first: int, last: int) -> None:
        p = known_program(epilogue_of(epilogue), 0, activation, STORE_F32)
        for at in range(first, last, 64):
            store_f32(activated(p, load_f32(at)), at)

    return activator


# By the activation's number.
ACTIVATORS: Mapping[int, Kernel] = MappingProxyType(
    {number: _activator(name, number) for name, number in ACTIVATIONS.items() if name != "curve"}
)


def activator_of(fields: Mapping[str, Any]) -> Kernel:
    """The kernel for an epilogue's fields."""
    return ACTIVATORS[fields.get("activation", 0)]


@inner
def activate(activator: int, epilogue: int, first: int, last: int) -> None:
    """Apply an activator, by its address, to the vectors from address `first` to `last`, in place.

    epilogue   address of the record that holds the activation's numbers
    """
    _run(activator, epilogue, first, last)
