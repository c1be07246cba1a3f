"""What a benchmark of an engine measured, batch by batch. Times are `perf_counter` seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, pstdev
from typing import Any

from numpy.typing import NDArray

from engine.errors import OptionError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BatchBenchmarkResult:
    """One timed call.

    time_start, time_end   seconds of `perf_counter`
    batch_size             items of the batch
    inputs, outputs        the arrays, where they were asked for
    extras                 anything a caller wants to keep with the batch
    """

    time_start: float
    time_end: float
    batch_size: int
    inputs: Sequence[Array] | None = None
    outputs: Sequence[Array] | None = None
    extras: Any = None

    @property
    def time_elapsed(self) -> float:
        """Seconds."""
        return self.time_end - self.time_start

    @property
    def batches_per_second(self) -> float:
        return 1.0 / self.time_elapsed

    @property
    def items_per_second(self) -> float:
        return self.batch_size / self.time_elapsed

    @property
    def ms_per_batch(self) -> float:
        return self.time_elapsed * 1e3

    @property
    def ms_per_item(self) -> float:
        return self.ms_per_batch / self.batch_size

    def __repr__(self) -> str:
        shown = {
            "time_start": self.time_start,
            "time_end": self.time_end,
            "size": self.batch_size,
            "batches_per_second": self.batches_per_second,
            "items_per_second": self.items_per_second,
            "ms_per_batch": self.ms_per_batch,
            "ms_per_item": self.ms_per_item,
        }
        return str(shown)

    def __str__(self) -> str:
        figures = f"ms_per_batch={self.ms_per_batch}, items_per_second={self.items_per_second}"
        return f"BatchBenchmarkResult({figures})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BenchmarkResults:
    """Timed calls in order. Iterable and indexable; figures of an empty one raise ZeroDivisionError."""

    results: list[BatchBenchmarkResult] = field(default_factory=list)

    def append_batch(
        self,
        time_start: float,
        time_end: float,
        batch_size: int | None,
        inputs: Sequence[Array] | None = None,
        outputs: Sequence[Array] | None = None,
        extras: Any = None,
    ) -> None:
        """Record one call; without a batch size it is the first dimension of the first array given.

        Raises OptionError when there is neither a batch size nor an array.
        """
        if batch_size is None:
            arrays = [*(inputs or ()), *(outputs or ())]
            if not arrays:
                message = "batch_size is None and there is no array to take it from. Give one of them."
                raise OptionError(message)
            batch_size = len(arrays[0])
        self.results.append(BatchBenchmarkResult(time_start, time_end, batch_size, inputs, outputs, extras))

    def __iter__(self) -> Iterator[BatchBenchmarkResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> BatchBenchmarkResult:
        return self.results[index]

    @property
    def num_batches(self) -> int:
        return len(self.results)

    @property
    def num_items(self) -> int:
        return sum(self.batch_sizes)

    @property
    def batch_times(self) -> list[float]:
        """Seconds."""
        return [result.time_elapsed for result in self.results]

    @property
    def batch_sizes(self) -> list[int]:
        return [result.batch_size for result in self.results]

    @property
    def inputs(self) -> list[Sequence[Array] | None]:
        return [result.inputs for result in self.results]

    @property
    def outputs(self) -> list[Sequence[Array] | None]:
        return [result.outputs for result in self.results]

    @property
    def batch_times_mean(self) -> float:
        """Seconds."""
        return sum(self.batch_times) / self.num_batches

    @property
    def batch_times_median(self) -> float:
        """Seconds."""
        return median(self._timed())

    @property
    def batch_times_std(self) -> float:
        """Seconds; of the population."""
        times = self._timed()
        return pstdev(times, fmean(times))

    def _timed(self) -> list[float]:
        if not self.results:
            message = "no batch was recorded"
            raise ZeroDivisionError(message)
        return self.batch_times

    @property
    def batches_per_second(self) -> float:
        """Over the sum of the calls' times, not over the wall clock."""
        return self.num_batches / sum(self.batch_times)

    @property
    def items_per_second(self) -> float:
        """Over the sum of the calls' times, not over the wall clock."""
        return self.num_items / sum(self.batch_times)

    @property
    def ms_per_batch(self) -> float:
        return self.batch_times_mean * 1e3

    @property
    def ms_per_item(self) -> float:
        return sum(self.batch_times) * 1e3 / self.num_items

    def __str__(self) -> str:
        names = (
            "items_per_second",
            "ms_per_batch",
            "batch_times_mean",
            "batch_times_median",
            "batch_times_std",
        )
        return "\n\t".join(["BenchmarkResults:", *(f"{name}: {getattr(self, name)}" for name in names)])

    __repr__ = __str__
