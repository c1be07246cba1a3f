"""Values placed as lane panels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.kernels.layout import Lanes, panel_rows, quad_margin, quad_rows
from engine.kernels.row import aligned
from engine.plan.steps import Array, Buffer, Fixed, Location

QUAD = 4
# Bytes that may be read behind a tensor's last number.
VECTORS_BEHIND = 128
# Rows that a vector of constants must have beyond m: strips are at most so many rows long.
STRIP_MARGIN = 96


@dataclass(frozen=True, slots=True)
class Panel:
    """An f32 panel or u8 quads in memory.

    location      row 0 of panel 0
    panel_bytes   from panel to panel
    """

    location: Location
    lanes: Lanes
    k: int
    panel_bytes: int
    quads: bool = False

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """What a step that reads or writes this touches."""
        place = self.location.place
        return (place,) if isinstance(place, Buffer) else ()

    def rows(self, first: int, count: int) -> Panel:
        """The features first .. first + count - 1, without copying."""
        moved = self.location.shifted(first * self.lanes.row_bytes)
        return Panel(moved, self.lanes, count, self.panel_bytes, self.quads)


def new_panel(lanes: Lanes, k: int, *, quads: bool = False) -> Panel:
    """A fresh place for k features of these lanes."""
    panel_bytes = (quad_rows(k) if quads else panel_rows(k)) * lanes.row_bytes
    margin = max(quad_margin(lanes.row_bytes) if quads else 0, VECTORS_BEHIND)
    size = panel_bytes * lanes.panels + margin
    return Panel(Location(Buffer(size)), lanes, k, panel_bytes, quads)


def constant_panel(array: Array, lanes: Lanes) -> Panel:
    """A float32 constant [..., k] laid out as an f32 panel."""
    k = array.shape[-1]
    made = aligned((lanes.panels, panel_rows(k), lanes.width), np.float32)
    flat = np.zeros((lanes.panels * lanes.width, k), np.float32)
    flat[: lanes.outer * lanes.pitch].reshape(lanes.outer, lanes.pitch, k)[:, : lanes.inner] = array.reshape(
        lanes.outer, lanes.inner, k
    )
    made[:, :k] = flat.reshape(lanes.panels, lanes.width, k).transpose(0, 2, 1)
    return Panel(Location(Fixed(made)), lanes, k, made.strides[0])
