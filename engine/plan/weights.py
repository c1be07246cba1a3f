"""Packed weights of one model, shared by all its plans.

The frontend hands out the same array object for the same weights, whatever the input shapes; so the
array's identity is the key, and packing is done once however many plans there are. What is large is also
kept on disk, under a name that follows from its content: other processes and later ones pack nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from engine.plan.packed_cache import LEAST_BYTES, PackedCache
from engine.plan.steps import Array

Packed = TypeVar("Packed")


class WeightStore:
    """Packed forms by (array, form); keeps the arrays, so that their identities stay theirs.

    disk   where large ones are kept as files; None keeps them in this process only
    """

    def __init__(self, disk: PackedCache | None = None) -> None:
        self._lock = threading.RLock()
        self._kept: dict[tuple[int, Hashable], tuple[Array, Any]] = {}
        self._disk = disk

    def packed(self, array: Array, form: Hashable, pack: Callable[[Array], Packed]) -> Packed:
        """The packed form of this array; made by `pack` the first time."""
        return self._once(array, form, lambda: pack(_aligned(array)))

    def lasting(
        self, array: Array, form: Hashable, kind: type[Packed], pack: Callable[[Array], Packed]
    ) -> Packed:
        """As `packed`, and kept on disk: `kind` is a frozen dataclass of arrays and plain fields.

        form   everything but the array that the result depends on, by value: its printed form names the file
        """
        return self._once(array, form, lambda: self._from_disk(array, form, kind, pack))

    def _once(self, array: Array, form: Hashable, make: Callable[[], Packed]) -> Packed:
        key = (id(array), form)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (array, make())
            found: Packed = self._kept[key][1]
            return found

    def _from_disk(
        self, array: Array, form: Hashable, kind: type[Packed], pack: Callable[[Array], Packed]
    ) -> Packed:
        disk = self._disk
        if disk is None or array.nbytes < LEAST_BYTES:
            return pack(_aligned(array))
        content = self._once(array, "content", lambda: disk.content(array))
        key = disk.key(content, form)
        found = disk.find(key, kind)
        if found is None:
            found = pack(_aligned(array))
            disk.keep(key, found)
        return found

    def __len__(self) -> int:
        return len(self._kept)


def _aligned(array: Array) -> Array:
    """The array; copied if its file has its elements at odd places."""
    return np.require(array, requirements="A")
