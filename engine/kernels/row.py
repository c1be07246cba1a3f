"""A row of the kernel table: everything the lowering needs to know of one product kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.jit import Kernel
from engine.kernels.cost import Coefficients, Work, for_level, predicted_ns
from engine.kernels.layout import Lanes
from engine.kernels.products.finishers import FINISHERS, Table

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class PackedWeights:
    """A weight matrix as one kernel family reads it; arrays are 64-byte aligned and never change.

    entries   the main stream
    index     beside it, for sparse forms; empty otherwise
    strips    strips of `strip_rows` rows
    """

    entries: Array
    index: Array
    m: int
    k: int
    strips: int
    strip_rows: int
    nonzeros: int

    @property
    def sparsity(self) -> float:
        return 1.0 - self.nonzeros / max(1, self.m * self.k)


@dataclass(frozen=True, slots=True)
class ProductShape:
    """What a cost is asked for: w[m, k] with so many nonzeros, over these lanes.

    alive_quads   quads of four consecutive k that are not all zero; None: not counted
    alive_4x1     the same for blocks of four consecutive rows at one k; alive_8x1 for eight
    block         features that share a scale, of weights of few bits; None: all of them
    """

    m: int
    k: int
    nonzeros: int
    lanes: Lanes
    alive_quads: int | None = None
    alive_4x1: int | None = None
    alive_8x1: int | None = None
    block: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """A row's part of the cost model; called, it predicts the nanoseconds of one core by the built-in coefficients.

    work      what the row has to do for a product
    builtin   coefficients by level, then by panel width; "generic" must be there
    """

    work: Callable[[ProductShape], Work]
    builtin: Mapping[str, Mapping[int, Coefficients]]

    def __call__(self, shape: ProductShape) -> float:
        return predicted_ns(self.work(shape), for_level(self.builtin)[shape.lanes.width])


@dataclass(frozen=True, slots=True)
class ProductRow:
    """One product kernel family at the active level.

    operand      "f32" or "u8": the activations it multiplies; "w8", "w4": float32 ones, by weights of so many bits
    reads        the form they must lie in: "panel", "pairs", "planes1" or "planes3" (f32), "quads" or "bytes" (u8)
    kernels      by panel width; a width may be missing
    pack         w[m, k] (float32, or int8; FewBits for those of few bits) -> PackedWeights
    k_steps      features -> steps of k that the kernel counts
    cost         predicted time of one core
    scratch      bytes a member of the team needs, by panel width
    precision    "f32", or "bf16": offered only where the user asked for it
    emulated     its instructions are not there but spelled out: for tests, never offered
    run          panels of one strip that the kernel likes to have in one claim
    suits        whether weights have the zeros that the family is made for: where not, only the user can choose it
    finishers    kernels that run epilogues, over sums as this family leaves them
    whole_panels whether its finishers get all lanes of a panel at once
    most_lanes   positions that the kernel takes at most, all of one sequence; None: any number
    """

    family: str
    operand: str
    reads: str
    kernels: dict[int, Kernel]
    pack: Callable[[Any], PackedWeights]
    k_steps: Callable[[int], int]
    cost: Cost
    scratch: Callable[[int], int]
    precision: str = "f32"
    emulated: bool = False
    run: int = 1
    suits: Callable[[ProductShape], bool] = lambda _shape: True
    finishers: Table = field(default_factory=lambda: FINISHERS)
    whole_panels: bool = False
    most_lanes: int | None = None

    def takes(self, lanes: Lanes) -> bool:
        """Whether there is a kernel for these lanes."""
        is_few = self.most_lanes is None or (lanes.outer == 1 and lanes.inner <= self.most_lanes)
        return is_few and lanes.width in self.kernels

    @property
    def skips_zeros(self) -> bool:
        """Whether fewer nonzeros are less work."""
        full, none = (ProductShape(96, 96, count, Lanes(1, 64), count // 4) for count in (96 * 96, 0))
        return self.cost.work(full) != self.cost.work(none)


def aligned(shape: tuple[int, ...] | int, dtype: Any) -> Array:
    """Zeros that begin on a cache line."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape)) * kind.itemsize
    raw = np.zeros(count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    view: Array = raw[start : start + count].view(kind).reshape(shape)
    return view
