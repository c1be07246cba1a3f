"""Benchmark results against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import OptionError
from engine.results import BatchBenchmarkResult, BenchmarkResults


@pytest.fixture
def results() -> BenchmarkResults:
    made = BenchmarkResults()
    for start, end, size in ((0.0, 0.1, 2), (1.0, 1.2, 2), (2.0, 2.6, 4)):
        made.append_batch(start, end, size)
    return made


def test_figures_are_of_the_calls_not_of_the_wall_clock(results: BenchmarkResults) -> None:
    assert len(results) == results.num_batches == 3
    assert results.num_items == 8
    assert results.batch_sizes == [2, 2, 4]
    assert results.batch_times == pytest.approx([0.1, 0.2, 0.6])
    assert results.batch_times_mean == pytest.approx(0.3)
    assert results.batch_times_median == pytest.approx(0.2)
    assert results.batch_times_std == pytest.approx(np.std([0.1, 0.2, 0.6]))
    assert results.batches_per_second == pytest.approx(3 / 0.9)
    assert results.items_per_second == pytest.approx(8 / 0.9)
    assert results.ms_per_batch == pytest.approx(300)
    assert results.ms_per_item == pytest.approx(900 / 8)


def test_results_iterate_and_index_in_order(results: BenchmarkResults) -> None:
    assert [entry.time_start for entry in results] == [0.0, 1.0, 2.0]
    assert results[2].time_end == 2.6
    assert results.results[0] is results[0]
    assert results.inputs == results.outputs == [None] * 3


def test_printed_form(results: BenchmarkResults) -> None:
    lines = str(results).split("\n\t")
    assert lines[0] == "BenchmarkResults:"
    assert [line.partition(": ")[0] for line in lines[1:]] == [
        "items_per_second",
        "ms_per_batch",
        "batch_times_mean",
        "batch_times_median",
        "batch_times_std",
    ]


def test_one_call() -> None:
    call = BatchBenchmarkResult(1.0, 1.5, 4)
    assert call.time_elapsed == 0.5
    assert (call.batches_per_second, call.items_per_second) == (2.0, 8.0)
    assert (call.ms_per_batch, call.ms_per_item) == (500.0, 125.0)
    assert str(call) == "BatchBenchmarkResult(ms_per_batch=500.0, items_per_second=8.0)"
    assert eval(repr(call))["size"] == 4  # noqa: S307 - our own text


def test_without_a_batch_size_it_comes_from_the_arrays() -> None:
    results = BenchmarkResults()
    results.append_batch(0.0, 1.0, None, outputs=[np.zeros((5, 2))])
    assert results.num_items == 5
    with pytest.raises(OptionError, match="no array"):
        results.append_batch(0.0, 1.0, None)


@pytest.mark.parametrize(
    "name", ["batch_times_mean", "batch_times_median", "batch_times_std", "items_per_second"]
)
def test_figures_of_nothing_divide_by_zero(name: str) -> None:
    with pytest.raises(ZeroDivisionError):
        getattr(BenchmarkResults(), name)
