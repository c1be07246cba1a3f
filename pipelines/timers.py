"""Where the time of a call goes: one timer per call with named stages, and a keeper of many timers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean
from threading import local
from time import perf_counter

PRE_PROCESS = "pre_process"
ENGINE_FORWARD = "engine_forward"
POST_PROCESS = "post_process"
TOTAL_INFERENCE = "total_inference"


class StagedTimer:
    """Seconds spent in named stages; a stage may run several times.

    A timer belongs to one thread. A disabled one measures nothing.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._started: dict[str, float] = {}
        self._seconds: dict[str, list[float]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.times})"

    def start(self, stage: str) -> None:
        """Begin a stage. Raises ValueError when it has begun already."""
        if not self.enabled:
            return
        if stage in self._started:
            message = f'Stage "{stage}" has started already; stop it first.'
            raise ValueError(message)
        self._started[stage] = perf_counter()

    def stop(self, stage: str) -> None:
        """End a stage. Raises ValueError when it has not begun."""
        if not self.enabled:
            return
        end = perf_counter()
        if stage not in self._started:
            message = f'Stage "{stage}" was not started.'
            raise ValueError(message)
        self._seconds.setdefault(stage, []).append(end - self._started.pop(stage))

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Measure the body as one run of a stage, also when it raises."""
        self.start(stage)
        try:
            yield
        finally:
            self.stop(stage)

    def clear(self) -> None:
        self._started.clear()
        self._seconds.clear()

    def has_stage(self, stage: str) -> bool:
        return stage in self._seconds

    def stage_times(self, stage: str) -> list[float]:
        """Seconds of every run of a stage. Raises ValueError for a stage that never ended."""
        if stage not in self._seconds:
            message = f'No times of stage "{stage}"; there are {self.stages}.'
            raise ValueError(message)
        return list(self._seconds[stage])

    def stage_average_time(self, stage: str) -> float:
        return fmean(self.stage_times(stage))

    @property
    def stages(self) -> list[str]:
        """Stages that ended at least once, in the order in which they first ended."""
        return list(self._seconds)

    @property
    def times(self) -> dict[str, float]:
        """Mean seconds per stage."""
        return {stage: fmean(seconds) for stage, seconds in self._seconds.items()}

    @property
    def all_times(self) -> dict[str, list[float]]:
        return {stage: list(seconds) for stage, seconds in self._seconds.items()}


class TimerManager:
    """The timers of a pipeline's calls: all of them with `multi`, else the last one only.

    Calls may come from several threads.
    """

    def __init__(self, *, enabled: bool = True, multi: bool = False) -> None:
        self.enabled = enabled
        self.multi = multi
        self._timers: list[StagedTimer] = []
        self._thread = local()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.times})"

    @contextmanager
    def measure_call(self) -> Iterator[StagedTimer]:
        """A new timer that is this thread's `current` one during the body and kept afterwards."""
        timer = StagedTimer(enabled=self.enabled)
        outer, self._thread.timer = self.current, timer
        try:
            with timer.time(TOTAL_INFERENCE):
                yield timer
        finally:
            self._thread.timer = outer
        if self.multi:
            self._timers.append(timer)
        else:
            self._timers = [timer]

    def clear(self) -> None:
        self._timers = []

    @property
    def current(self) -> StagedTimer | None:
        """The timer of the call that this thread is in."""
        return getattr(self._thread, "timer", None)

    @property
    def latest(self) -> StagedTimer | None:
        """The timer of the call that ended last."""
        timers = self._timers
        return timers[-1] if timers else None

    @property
    def timers(self) -> list[StagedTimer]:
        return list(self._timers)

    @property
    def stages(self) -> list[str]:
        return list(self.all_times)

    @property
    def times(self) -> dict[str, float]:
        """Mean seconds per stage over all kept calls."""
        return {stage: fmean(seconds) for stage, seconds in self.all_times.items()}

    @property
    def all_times(self) -> dict[str, list[float]]:
        joined: dict[str, list[float]] = {}
        for timer in self._timers:
            for stage, seconds in timer.all_times.items():
                joined.setdefault(stage, []).extend(seconds)
        return joined
