"""The parts and patterns of images of another size on panels: tables that `pixels.py` reads, made once a plan.

A part is taken as long as its first numbers, and those behind them, lie in one vector of the source or the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.kernels.layout import VECTOR_LANES, Lanes
from engine.kernels.resize.pixels import PART, PATTERN
from engine.kernels.row import Array

# Two places and a share for each place of the result, along one axis.
Along = tuple[Array, Array, Array]


@dataclass(frozen=True, slots=True)
class Parts:
    """`parts` of PART, `firsts` int64 [panels of the result + 1], `patterns` of PATTERN."""

    parts: Array
    firsts: Array
    patterns: Array


@dataclass(frozen=True, slots=True)
class Panels:
    """Where vectors of lanes lie in panels of so many bytes each."""

    lanes: Lanes
    panel_bytes: int

    def places(self, vectors: Array) -> Array:
        """Bytes from the first panel to vectors, counted over all images."""
        lane = vectors * VECTOR_LANES
        places: Array = lane // self.lanes.width * self.panel_bytes + 4 * (lane % self.lanes.width)
        return places


def _grouped(vectors: Array, rows: Array, upper: tuple[Array, Array], lower: tuple[Array, Array]) -> Array:
    """The part of each pixel of one image: as many of one row and one vector as its first numbers let be."""
    part = np.full(vectors.size, -1)
    begins = np.ones(vectors.size, bool)
    begins[1:] = (np.diff(vectors) != 0) | (np.diff(rows) != 0)
    group, count = np.cumsum(begins) - 1, 0
    while (rest := np.flatnonzero(part < 0)).size:
        present, first, member = np.unique(group[rest], return_index=True, return_inverse=True)
        fits = np.ones(rest.size, bool)
        for near, far in (upper, lower):
            vector = (near[rest] // VECTOR_LANES)[first][member]
            fits &= (near[rest] // VECTOR_LANES >= vector) & (far[rest] // VECTOR_LANES <= vector + 1)
        part[rest[fits]] = count + member[fits]
        count += present.size
    return part


def parts_of(down: Along, across: Along, width: int, images: int, x: Panels, y: Panels) -> Parts:
    """The tables of images that are `width` pixels wide before they are resized by these places."""
    columns = across[0].size
    pixel = np.arange(down[0].size * columns)
    row, column = pixel // columns, pixel % columns
    upper, lower = (
        (places[row] * width + across[0][column], places[row] * width + across[1][column])
        for places in down[:2]
    )
    part = _grouped(pixel // VECTOR_LANES, row, upper, lower)
    _, first = np.unique(part, return_index=True)
    order = np.argsort(first, kind="stable")
    first, rank = first[order], np.argsort(order)
    part = rank[part]
    patterns = np.zeros(first.size, PATTERN)
    lane = pixel % VECTOR_LANES
    for name, (near, far) in (("upper", upper), ("lower", lower)):
        base = near[first] // VECTOR_LANES * VECTOR_LANES
        patterns[name][part, lane] = near - base[part]
        patterns[f"{name}_second"][part, lane] = far - base[part]
    patterns["share"][part, lane] = across[2][column]
    np.bitwise_or.at(patterns["lanes"][:, 0], part, 1 << lane)
    distinct, number = np.unique(patterns.view(f"V{PATTERN.itemsize}"), return_inverse=True)
    made = np.zeros((images, first.size), PART)
    made["pattern"], made["share"] = PATTERN.itemsize * number.reshape(-1), down[2][row[first]]
    vector = pixel[first] // VECTOR_LANES
    made["adds"][:, 1:] = vector[1:] == vector[:-1]
    image = np.arange(images)[:, None]
    vectors = image * (y.lanes.pitch // VECTOR_LANES) + vector
    made["y"] = y.places(vectors) % y.panel_bytes
    last = (x.lanes.pitch // VECTOR_LANES) - 1
    for name, (near, _) in (("upper", upper), ("lower", lower)):
        source = near[first] // VECTOR_LANES
        for field, place in ((name, source), (f"{name}_next", np.minimum(source + 1, last))):
            made[field] = x.places(image * (last + 1) + place)
    panel = vectors.reshape(-1) * VECTOR_LANES // y.lanes.width
    firsts = np.searchsorted(panel, np.arange(y.lanes.panels + 1))
    return Parts(made.reshape(-1), firsts, distinct.view(PATTERN))
