"""Coefficients: found again from times they explain, and what is kept of them on disk."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.calibration import calibrate as calibration
from engine.calibration.case import PATTERNS_OF, Case
from engine.calibration.fit import fit
from engine.calibration.product import (
    PEAK_TILES,
    Subject,
    peak_of,
    peak_operations,
    timed_peak,
    timed_product,
)
from engine.calibration.timing import in_turns
from engine.kernels.cost import Coefficients, Work, for_level, panels_of_block, predicted_ns
from engine.kernels.layout import Lanes
from engine.kernels.row import ProductRow, ProductShape
from engine.lowering.choose import LEAN, PRODUCT_ROWS, choose, fitting_rows, measured_rates
from engine.machine.rates import rates_file, read_rates, write_rates
from engine.machine.topology import topology
from engine.runtime.team import Team

TRUE = Coefficients(0.4, 5.0, 2.0, 0.3, 0.01)
PRICES = st.floats(0.01, 100.0)


def some_works(count: int) -> list[Work]:
    source = np.random.default_rng(count)
    sizes = 10 ** source.uniform([3, 1, 2, 2, 0], [7, 4, 5, 5, 6], (count, 5))
    return [Work(*map(float, row)) for row in sizes]


@given(st.builds(Coefficients, PRICES, PRICES, PRICES, PRICES, PRICES))
def test_coefficients_are_found_again(prices: Coefficients) -> None:
    works = some_works(60)
    # 700 ns of every call are not the row's.
    found = fit(works, [predicted_ns(work, prices) + 700 for work in works])
    for work in works:
        assert predicted_ns(work, found) == pytest.approx(predicted_ns(work, prices), rel=0.02, abs=100)


def test_a_disturbed_time_changes_little() -> None:
    works = some_works(60)
    times = [predicted_ns(work, TRUE) for work in works]
    times[7] *= 3
    times[20] *= 1.8
    found = fit(works, times)
    assert all(
        predicted_ns(work, found) == pytest.approx(predicted_ns(work, TRUE), rel=0.05) for work in works
    )


def test_coefficients_are_never_negative() -> None:
    works = some_works(30)
    times = np.random.default_rng(0).uniform(1e3, 1e6, 30)
    assert all(value >= 0 for value in fit(works, list(times)))


def shapes() -> list[tuple[str, ProductShape]]:
    return [
        (operand, ProductShape(m, k, int(m * k * density), Lanes(1, lanes), int(m * k * density / 2)))
        for operand in PATTERNS_OF
        for m, k in ((64, 64), (768, 3072))
        for density in (0.02, 0.1, 1.0)
        for lanes in (1, 20, 128, 1000)
    ]


@pytest.mark.parametrize("row", PRODUCT_ROWS, ids=lambda row: row.family)
def test_every_row_has_a_price_for_each_of_its_widths(row: ProductRow) -> None:
    table = for_level(row.cost.builtin)
    assert set(row.kernels) <= set(table)
    for operand, shape in shapes():
        if row.operand == operand and row.takes(shape.lanes):
            assert row.cost(shape) > 0
            assert all(amount >= 0 for amount in row.cost.work(shape))


def test_dense_rows_do_not_count_nonzeros_and_sparse_ones_do() -> None:
    dense = {row.family for row in PRODUCT_ROWS if not row.skips_zeros}
    assert {"dense_f32", "dense_int8"} <= dense
    assert dense.isdisjoint({"csr_f32", "block4_int8", "sparse_int8"})


def test_the_choice_follows_from_the_rates_alone() -> None:
    free, dear = Coefficients(0, 0, 0, 0, 0), Coefficients(1e3, 1e3, 1e3, 1e3, 1e3)
    for operand, shape in shapes():
        plain = choose(operand, shape, None, {})
        assert choose(operand, shape, None, {}) == plain
        suited = [row.family for row in fitting_rows(operand, shape) if row.suits(shape)]
        order = [plain.cost_ns, *(ns for family, ns in plain.runners_up if family in suited)]
        lean = plain.reason == "least memory"
        assert order[lean:] == sorted(order[lean:])
        assert plain.cost_ns <= (LEAN if lean else 1) * min(order)
        for family in suited:
            rates = {other: {shape.lanes.width: free if other == family else dear} for other in suited}
            assert choose(operand, shape, None, rates).row.family == family


def test_panels_of_a_block_fill_half_of_the_cache() -> None:
    assert panels_of_block(1 << 16, 1 << 20) == 8
    assert panels_of_block(1 << 30, 1 << 20) == 1


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of rates of its own; compiled code stays where it is."""
    monkeypatch.setattr("engine.machine.rates.cache_directory", lambda: tmp_path)
    return tmp_path


RATES = {"dense_f32": {64: TRUE, 16: Coefficients(1, 2, 3, 4, 5)}}


def test_rates_are_read_as_they_were_written(own_cache: Path) -> None:
    file = write_rates(RATES)
    assert file is not None
    assert file == rates_file()
    assert measured_rates() == RATES
    assert [path.name for path in (own_cache / "rates").iterdir()] == [file.name]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace("0.4", "NaN"),
        lambda text: text.replace("0.4", "-1"),
        lambda text: text.replace("0.4", '"fast"'),
        lambda text: text.replace("0.4,", ""),
        lambda text: text.replace('"64"', '"wide"'),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace(json.loads(text)["machine"]["sources"], "other"),
    ],
)
def test_damaged_or_foreign_rates_are_none(own_cache: Path, damage: Callable[[str], str]) -> None:
    file = write_rates(RATES)
    assert file is not None
    file.write_text(damage(file.read_text()))
    assert read_rates(5) == {}


def test_rates_that_cannot_be_kept_are_no_error(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_cache / "rates").write_text("a file where the folder should be")
    assert write_rates(RATES) is None
    assert read_rates(5) == {}
    monkeypatch.setattr("engine.machine.rates.cache_directory", lambda: None)
    assert write_rates(RATES) is None
    assert read_rates(5) == {}


def test_calibrating_prices_every_row_and_keeps_it(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "SIZES", ((16, 32), (32, 64), (64, 48)))
    monkeypatch.setattr(calibration, "LARGE", (96, 96))
    rates = calibration.calibrate()
    assert {(family, width) for family, table in rates.items() for width in table} == {
        (row.family, width) for row in PRODUCT_ROWS for width in row.kernels
    }
    assert measured_rates() == rates
    assert len(calibration.summary(rates)) == 1 + sum(len(table) for table in rates.values())


@pytest.mark.parametrize("row", PRODUCT_ROWS, ids=lambda row: row.family)
def test_a_timed_product_runs_the_family_that_was_asked_for(row: ProductRow) -> None:
    team = Team(topology().cores[:1])
    cases = [
        Case(row.operand, 24, 36, lanes, 0.7, pattern)
        for lanes in (1, 16, 64)
        for pattern in PATTERNS_OF[row.operand] or ("single",)
    ]
    taken = [subject for subject in map(Subject.of, cases) if row in subject.rows("bf16")]
    assert taken
    for subject in taken:
        plan = timed_product(subject, row.family, team).plan
        assert any(layer.kernel.startswith(row.family) for layer in plan.layers)


@pytest.mark.parametrize("operand", PATTERNS_OF)
def test_the_peak_loop_runs_on_every_core_of_a_team(operand: str) -> None:
    row, team = peak_of(operand), Team(topology().cores[:2])
    timed_peak(row, team).run()
    assert peak_operations(row, team) >= row.operations * PEAK_TILES
    team.stop()


@pytest.mark.parametrize("operand", PATTERNS_OF)
def test_a_case_has_the_zeros_and_the_pattern_it_says(operand: str) -> None:
    for pattern in PATTERNS_OF[operand]:
        case = Case(operand, 96, 400, 16, 0.8, pattern)
        w = case.weights()
        assert np.array_equal(w, case.weights())
        assert np.mean(w == 0) == pytest.approx(0.8, abs=0.03)
        if pattern == "1x4":
            assert set(np.count_nonzero(w.reshape(96, 100, 4), axis=2).reshape(-1)) == {0, 4}


def test_calls_take_turns() -> None:
    order: list[str] = []
    samples = in_turns([lambda: order.append("a"), lambda: order.append("b")], 0.0, 3)
    assert [len(taken) for taken in samples] == [3, 3]
    changes = sum(x != y for x, y in itertools.pairwise(order))
    assert changes >= 6
