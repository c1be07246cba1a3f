"""Rows that are made for few lanes, or for blocks of zeros, are chosen there and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from engine.calibration.case import PATTERNS, Case
from engine.calibration.product import Subject
from engine.jit import active_level
from engine.kernels.cost import is_kept
from engine.kernels.layout import Lanes
from engine.kernels.row import ProductShape
from engine.lowering.builder import Builder
from engine.lowering.choose import Choice, choose, fitting_rows
from engine.lowering.machine import Machine
from engine.plan.weights import WeightStore

FEW = {
    "f32": "matrix_vector_f32",
    "u8": "matrix_vector_int8",
    "w8": "matrix_vector_w8",
    "w4": "matrix_vector_w4",
}
BLOCKS = {"4x1": "block4x1_f32", "8x1": "block8x1_f32"}


def _choice(subject: Subject, lanes: int) -> Choice:
    return choose(subject.case.operand, subject.over(lanes).shape, None, {})


def _is_wide() -> bool:
    return active_level().width == 64


@pytest.mark.parametrize("operand", FEW)
@pytest.mark.parametrize(("m", "k"), [(768, 768), (3072, 768), (768, 3072), (4096, 4096)])
@pytest.mark.parametrize("lanes", [1, 2, 5, 8])
def test_few_lanes_of_dense_weights_go_to_matrix_vector_rows(
    operand: str, m: int, k: int, lanes: int
) -> None:
    shape = ProductShape(m, k, m * k, Lanes(1, lanes))
    if not _is_wide():
        pytest.skip("with narrow registers another row may be as fast")
    family = choose(operand, shape, None, {}).row.family
    # Weights from memory take tiles no longer than rows, and tiles compute less for five to eight lanes.
    on_tiles = family == "amx_int8" and lanes >= 5 and not is_kept(m * k)
    assert family == FEW[operand] or on_tiles


@pytest.mark.parametrize("operand", FEW)
@pytest.mark.parametrize("lanes", [Lanes(1, 9), Lanes(1, 64), Lanes(2, 1), Lanes(4, 8)])
def test_matrix_vector_rows_are_not_offered_for_other_lanes(operand: str, lanes: Lanes) -> None:
    shape = ProductShape(768, 768, 768 * 768, lanes)
    assert FEW[operand] not in {row.family for row in fitting_rows(operand, shape)}
    assert choose(operand, shape, FEW[operand], {}).reason != "forced"


@pytest.mark.parametrize("pattern", BLOCKS)
@pytest.mark.parametrize("zeros", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("lanes", [16, 32, 128, 1024])
def test_weights_of_blocks_go_to_a_row_of_blocks(pattern: str, zeros: float, lanes: int) -> None:
    family = _choice(Subject.of(Case("f32", 768, 768, 16, zeros, pattern)), lanes).row.family
    if not _is_wide():
        pytest.skip("with narrow registers another row may be as fast")
    if active_level().tiles and zeros == 0.5 and lanes >= 128:
        assert family == "amx_f32_compressed", "many lanes of half the weights are faster on tiles"
        return
    # Blocks of eight are two of four as well.
    assert family == BLOCKS["4x1"] or (pattern == "8x1" and family == BLOCKS["8x1"])


@pytest.mark.parametrize("zeros", [0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98])
@pytest.mark.parametrize("lanes", [1, 8, 16, 32, 128, 1024])
def test_weights_of_single_zeros_never_go_to_a_row_of_blocks(zeros: float, lanes: int) -> None:
    assert _choice(Subject.of(Case("f32", 768, 768, 16, zeros)), lanes).row.family not in BLOCKS.values()


def test_live_blocks_are_counted_down_the_outputs() -> None:
    subject = Subject.of(Case("f32", 96, 64, 16, 0.9, "8x1"))
    alive = int(np.count_nonzero(subject.w[:: PATTERNS["8x1"][0]]))
    assert (subject.shape.alive_8x1, subject.shape.alive_4x1) == (alive, 2 * alive)


@pytest.mark.parametrize(
    ("operand", "share", "expected"),
    [
        ("f32", (1, 1), Lanes(2, 3)),
        ("f32", (2, 16), Lanes(16, 3)),
        ("w8", (2, 6), Lanes(6, 3)),
        ("u8", (2, 16), Lanes(2, 3)),
    ],
)
def test_products_of_a_part_get_the_row_of_the_batch(
    operand: str, share: tuple[int, int], expected: Lanes
) -> None:
    builder = Builder(Machine(1, 1 << 20, share=share), WeightStore(), None, {})
    assert builder.deciding_lanes((2, 3, 64), operand) == expected
