"""One product, or the peak loop, as a plan that the team walks: what is timed is what a model runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.calibration.case import Array, Case
from engine.errors import InternalError
from engine.graph.ir import Node, TensorType, Value, constant, graph_input
from engine.kernels.block4_int8.pack import quads_of
from engine.kernels.column_blocks_f32.pack import alive_blocks
from engine.kernels.layout import Lanes
from engine.kernels.peak.rows import PEAK, PEAKS, SCRATCH, TILE_PEAKS, PeakRow
from engine.kernels.row import ProductRow, ProductShape
from engine.lowering.builder import Builder
from engine.lowering.choose import fitting_rows
from engine.lowering.lower import lowerings
from engine.lowering.machine import Machine
from engine.machine.topology import l2_bytes
from engine.plan.build import Plan, Segment, build
from engine.plan.steps import Buffer, Field, Layer, Location, Program, Record, Step, Tensor
from engine.plan.weights import WeightStore
from engine.runtime.team import Team

_F32, _U8 = np.dtype(np.float32), np.dtype(np.uint8)
# Iterations of the peak loop a tile, and tiles: some tenths of a millisecond for one core.
PEAK_ITERATIONS, PEAK_TILES = 2000, 16


@dataclass(frozen=True, slots=True)
class Subject:
    """A case with its weights, and the packed forms made of them so far."""

    case: Case
    w: Array
    packed: WeightStore

    @classmethod
    def of(cls, case: Case) -> Subject:
        return cls(case, case.weights(), WeightStore())

    def over(self, lanes: int) -> Subject:
        """The same weights over another number of lanes."""
        return replace(self, case=replace(self.case, lanes=lanes))

    @property
    def shape(self) -> ProductShape:
        """What a cost is asked for."""
        lanes = Lanes(1, self.case.lanes)
        m, k, operand = self.case.m, self.case.k, self.case.operand
        whole = ProductShape(m, k, int(np.count_nonzero(self.w)), lanes, block=self.case.block)
        if operand not in ("f32", "u8"):
            return replace(whole, nonzeros=m * k)
        if operand == "u8":
            return replace(whole, alive_quads=int(np.count_nonzero(quads_of(self.w).view(np.int32))))
        return replace(whole, alive_4x1=alive_blocks(self.w, 4), alive_8x1=alive_blocks(self.w, 8))

    def rows(self, precision: str) -> list[ProductRow]:
        """The product rows that can take it, those included that this precision admits."""
        return fitting_rows(self.case.operand, self.shape, precision)


@dataclass(frozen=True, slots=True)
class Timed:
    """A plan of one step, and how to run it once."""

    plan: Plan
    run: Callable[[], None]


def timed_product(subject: Subject, family: str, team: Team) -> Timed:
    """The product by this family: packed weights, bias and, for integers, scale and requantisation.

    x lies as the layer before would leave it; a family that reads another form pays for the step that makes it.
    Raises InternalError when the family cannot take the case.
    """
    case = subject.case
    builder = Builder(Machine(team.members, l2_bytes(), "bf16", parts=team.parts), subject.packed, family)
    x = graph_input("x", _U8 if case.operand == "u8" else _F32, (case.lanes, case.k))
    panel = builder.new_panel(x.shape, quads=case.operand == "u8")
    (builder.quads if case.operand == "u8" else builder.panels)[x] = panel
    node = _product_node(case, x, subject.w)
    answer = lowerings()[node.op].lower(node, builder)
    if answer is not None or not any(family in step.layer.kernel for step in builder.steps):
        message = f"family {family} did not take {case}: {answer or 'another was chosen'}"
        raise InternalError(message)
    size = sum(buffer.size for buffer in panel.buffers) // x.dtype.itemsize
    fed = Tensor(x.dtype, (size,), panel.location)
    plan = build(Program((("x", fed),), (), tuple(builder.steps), Location(builder.fault)), team.members)
    _fill(plan.inputs[0][1])
    return _timed(plan, team)


def _product_node(case: Case, x: Value, w: Array) -> Node:
    """A layer as models have them: floats with a bias, integers with a scale a row, a bias and requantisation."""
    bias = np.full(case.m, 0.01, np.float32)
    attrs: dict[str, Any] = {"weight_axes": "mk", "activation": "none"}
    if case.operand == "f32":
        y = TensorType(_F32, (case.lanes, case.m))
        return Node(
            "linear", (x, constant(w), constant(bias), None), (y,), {**attrs, "store": None}, "product"
        )
    if case.operand != "u8":
        y = TensorType(_F32, (case.lanes, case.m))
        scales, zeros = map(constant, case.scales())
        operands = (x, constant(w), scales, zeros, constant(bias), None)
        attrs |= {"store": None, "block": case.block or case.k}
        return Node("weight_only_linear", operands, (y,), attrs, "product")
    scale = np.full(case.m, 1e-4, np.float32)
    attrs |= {"weight_zero": 0, "zero_point": 128, "store": ("quantized", 0.05, 128), "product": None}
    y = TensorType(_U8, (case.lanes, case.m))
    inputs = (x, constant(w), constant(scale), None, constant(bias), None)
    return Node("quantized_linear", inputs, (y,), attrs, "product")


def _fill(place: Array) -> None:
    source = np.random.default_rng(0)
    if place.dtype == _F32:
        place[:] = source.standard_normal(place.size, np.float32)
    else:
        place[:] = source.integers(0, 256, place.size, np.uint8)


def timed_peak(row: PeakRow, team: Team) -> Timed:
    """The register loop of `row` on the whole team."""
    sums = Buffer(64)
    fields: dict[str, Field | Record] = {"iterations": PEAK_ITERATIONS, "source": Location(sums)}
    layer = Layer("peak", "peak", row.kernel.name)
    step = Step(
        layer,
        row.kernel,
        Record(PEAK, fields),
        PEAK_TILES * max(1, team.workers),
        scratch=SCRATCH,
        writes=(sums,),
    )
    fault = Location(Buffer(64, permanent=True))
    return _timed(build(Program((), (), (step,), fault), team.members), team)


def peak_operations(row: PeakRow, team: Team) -> float:
    """Operations of one run of `timed_peak`: 2 a multiply-add."""
    return float(row.operations * PEAK_ITERATIONS * PEAK_TILES * max(1, team.workers))


def peak_of(operand: str) -> PeakRow:
    """The register loop that bounds products of this operand."""
    return PEAKS["u8" if operand == "u8" else "f32"]


def own_peak_of(family: str) -> PeakRow | None:
    """The loop that bounds a family of tile products, or of bfloat16; None for those that their operand's bounds."""
    if not family.startswith("amx"):
        return PEAKS.get("bf16") if family.endswith("bf16") else None
    return TILE_PEAKS.get("u8" if "int8" in family else "bf16")


def _timed(plan: Plan, team: Team) -> Timed:
    (segment,) = plan.stages
    if not isinstance(segment, Segment):
        message = "a product that is measured runs in compiled steps only"
        raise InternalError(message)
    address = segment.address

    def run() -> None:
        team.run(plan, address)

    return Timed(plan, run)
