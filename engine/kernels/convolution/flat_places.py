"""Flat rows (see flat.py): which windows have them, what the step's record holds, and what lies where in scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.jit import record
from engine.kernels.convolution.lanes import PLACE
from engine.kernels.convolution.planes import Window
from engine.kernels.layout import VECTOR_LANES
from engine.kernels.row import Array, aligned

CHANNELS = 4
FLAT = np.dtype(
    [
        *((f"x_{name}", np.int64) for name, _ in PLACE),
        *(
            (name, np.int64)
            for name in (
                "height",  # of the image
                "width",
                "quads",  # fours of channels
                "w",  # float32 [channel][tap]
                "offsets",  # address of int32 [taps]: bytes from a result's place in phase 0
                "taps_down",
                "taps_across",
                "masks",  # address of uint16 [period][taps across]: lanes whose column is one of the image
                "period",  # vectors after which masks repeat
                "neighbours",  # 1: taps of a row are three numbers side by side
                "pitch",  # numbers from row to row of phases and results
                "lane_pitch",  # lanes of the result from image to image
                "bands",  # of an image
                "band",  # lanes of a band; the last has what is left
                "copied",  # 1: lanes are copied as they lie
                "in_place",  # 1: lanes of a channel lie together, lane 0 of image 0 at x_base, zeros around where copied
                "whole",  # 1: rows are whole vectors of panels
                "down",  # strides
                "across",
                "above",  # rows of a phase that come before a result's, and the last of them
                "below",
                "margin",  # numbers before the first of a phase
                "plane_bytes",  # of a phase
                "lines",  # places in scratch, behind the phases: lanes
                "sums",  # [channel][lane of the band]
                "copies",  # where each vector of lanes is
                "results",  # entries of vectors
                "epilogue",
            )
        ),
    ],
    align=True,
)
flat_of = record(FLAT)

# Of a vector of results: places in y and in the residual, address of its masks.
ENTRY = 24
# Vectors of any window that are computed together.
TOGETHER = 4
# Bytes of a band's phases, about.
_BAND_BYTES = 12 * 1024


@dataclass(frozen=True, slots=True)
class Shifts:
    """Of an axis, for each tap: its phase of the image, and how many places of it lie before or behind the result's."""

    phase: tuple[int, ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, window: Window, axis: int) -> Shifts:
        """By the distance of a tap from the pixel at stride * result."""
        stride = window.stride[axis]
        far = [tap * window.dilation[axis] - window.begin[axis] for tap in range(window.kernel[axis])]
        return cls(tuple(at % stride for at in far), tuple(at // stride for at in far))


def is_flat(window: Window) -> bool:
    """Whether rows of each phase are no longer than the result's.

    What is laid out row by row must fill half a vector to pay.
    """
    fits = -(-window.image[1] // window.stride[1]) <= window.result[1]
    is_copied = window.stride == (1, 1) and window.image[1] == window.result[1]
    return is_copied or (fits and window.result[1] >= VECTOR_LANES // 2)


def _up(number: int) -> int:
    return -(-number // VECTOR_LANES) * VECTOR_LANES


@dataclass(frozen=True, slots=True)
class Flat:
    """How a window goes over bands, with the places in a member's scratch and the bytes of all."""

    window: Window
    lane_pitch: int

    @property
    def copied(self) -> bool:
        return self.window.stride == (1, 1) and self.window.image[1] == self.pitch

    @property
    def pitch(self) -> int:
        return self.window.result[1]

    @property
    def phases(self) -> int:
        return self.window.stride[0] * self.window.stride[1]

    @property
    def band(self) -> int:
        """Lanes of a band: all, or as many panels as `_BAND_BYTES` hold."""
        panels = _BAND_BYTES // (4 * self.phases) // 64
        parts = -(-self.lane_pitch // (64 * max(1, panels)))
        return min(self.lane_pitch, -(-self.lane_pitch // (64 * parts)) * 64)

    @property
    def bands(self) -> int:
        return -(-self.lane_pitch // self.band)

    @property
    def reach(self) -> tuple[int, int]:
        """Rows before and behind a result's."""
        places = Shifts.of(self.window, 0).places
        return min(0, *places), max(0, *places)

    @property
    def margin(self) -> int:
        """Numbers before and behind rows, which are read and left out: a vector's neighbours, at least."""
        return VECTOR_LANES + _up(max(map(abs, Shifts.of(self.window, 1).places)))

    @property
    def rows(self) -> int:
        """Rows of a phase, at most."""
        return -(-self.band // self.pitch) + 1 + self.reach[1] - self.reach[0]

    @property
    def plane(self) -> int:
        """Numbers of a phase."""
        return _up(self.rows * self.pitch + 2 * self.margin) + TOGETHER * VECTOR_LANES

    def seen_lanes(self, bands: int) -> int:
        """Lanes of the image that so many bands see, at most."""
        above, below = self.reach
        lanes = bands * self.band
        if self.copied:
            return lanes + (below - above) * self.pitch + 2 * self.margin + VECTOR_LANES
        rows = -(-lanes // self.pitch) + 1 + below - above
        return rows * self.window.stride[0] * self.window.image[1] + 2 * VECTOR_LANES

    @property
    def lanes(self) -> int:
        """Lanes that are copied, at most."""
        if self.copied:
            return self.plane
        return _up(self.window.stride[0] * self.rows * self.window.image[1]) + 4 * VECTOR_LANES

    @property
    def places(self) -> dict[str, int]:
        """Fields of the record, and `size`."""
        lines = 4 * self.phases * self.plane
        sums = lines + 4 * self.lanes
        copies = sums + 4 * CHANNELS * (self.band + VECTOR_LANES)
        results = copies + 8 * (self.lanes // VECTOR_LANES)
        size = results + ENTRY * (self.band // VECTOR_LANES + TOGETHER)
        return {"lines": lines, "sums": sums, "copies": copies, "results": results, "size": size}

    def offsets(self) -> Array:
        """int32 [taps]: bytes from a result's place in phase 0."""
        down, across = Shifts.of(self.window, 0), Shifts.of(self.window, 1)
        made = aligned(self.window.taps, np.int32)
        for tap, (i, j) in enumerate(np.ndindex(self.window.kernel)):
            phase = down.phase[i] * self.window.stride[1] + across.phase[j]
            made[tap] = 4 * (phase * self.plane + down.places[i] * self.pitch + across.places[j])
        return made

    def masks(self) -> Array:
        """uint16 [period][taps across]: a bit for each lane."""
        across, stride = Shifts.of(self.window, 1), self.window.stride[1]
        period = self.pitch // math.gcd(self.pitch, VECTOR_LANES)
        column = np.arange(period * VECTOR_LANES).reshape(period, VECTOR_LANES) % self.pitch
        made = aligned((period, self.window.kernel[1]), np.uint16)
        for tap, (phase, place) in enumerate(zip(across.phase, across.places, strict=True)):
            there = -(-(self.window.image[1] - phase) // stride)
            is_inside = (column + place >= 0) & (column + place < there)
            made[:, tap] = is_inside @ (1 << np.arange(VECTOR_LANES))
        return made
