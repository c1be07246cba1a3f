"""Packed weights of one model, shared by all its plans.

The frontend hands out the same array object for the same weights, whatever the input shapes; so the
array's identity is the key, and packing is done once however many plans there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from engine.plan.steps import Array

Packed = TypeVar("Packed")


class WeightStore:
    """Packed forms by (array, form); keeps the arrays, so that their identities stay theirs."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: dict[tuple[int, Hashable], tuple[Array, Any]] = {}

    def packed(self, array: Array, form: Hashable, pack: Callable[[Array], Packed]) -> Packed:
        """The packed form of this array; made by `pack` the first time."""
        key = (id(array), form)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (array, pack(array))
            found: Packed = self._kept[key][1]
            return found

    def __len__(self) -> int:
        return len(self._kept)
