"""Many requests of many threads, while models come and go, workers die, deadlines pass and callers cancel."""

from __future__ import annotations

import gc
import random
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from small_models import lookup, perceptron, saved

from engine import (
    Context,
    DeadlineError,
    Engine,
    MultiModelEngine,
    RequestCancelledError,
    SparselaneError,
    WorkerError,
)
from engine.machine.topology import topology
from engine.runtime import crew as crew_module
from engine.runtime.worker import work

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cores")]
THREADS, RUNS = 8, 10_000


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("sparselane-")}


def together(calls: list[threading.Thread]) -> None:
    for thread in calls:
        thread.start()
    for thread in calls:
        thread.join()


@pytest.mark.parametrize(
    ("runs", "interval", "changing"),
    [(RUNS, 0.005, False), (RUNS // 20, 1e-6, False), (RUNS // 5, 0.005, True)],
)
def test_results_of_three_models_are_those_of_one_thread(
    tmp_path: Path, runs: int, interval: float, changing: bool
) -> None:
    before = workers()
    small = saved(perceptron(), tmp_path, "small.onnx"), saved(lookup(), tmp_path, "lookup.onnx")
    large = "synthetic:minilm-l6?layers=1&sparsity=0.8&quantized=1"
    forms = [(small[0], None), (small[1], [[4, 16]]), (large, [[1, 16]])]
    context = Context(num_streams=2)
    engines = [
        MultiModelEngine(model, 4 if shapes is None else shapes[0][0], context, shapes)
        for model, shapes in forms
    ]
    inputs = [engine.generate_random_inputs(1) for engine in engines]
    inputs[1] = [inputs[1][0] % 300]
    expected = [
        [y.copy() for y in Engine(model, e.batch_size, 1, input_shapes=shapes).run(x)]
        for (model, shapes), e, x in zip(forms, engines, inputs, strict=True)
    ]
    wrong: list[int] = []
    ended = threading.Event()

    def caller(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(runs):
            i = source.randrange(3)
            outputs = engines[i].run(inputs[i])
            wrong.extend(
                i for y, want in zip(outputs, expected[i], strict=True) if not np.array_equal(y, want)
            )

    def loader() -> None:
        while not ended.is_set():
            with MultiModelEngine(small[0], 4, context) as engine:
                wrong.extend([9] if not np.array_equal(engine.run(inputs[0])[0], expected[0][0]) else [])

    usual = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    beside = threading.Thread(target=loader)
    try:
        if changing:
            beside.start()
        together([threading.Thread(target=caller, args=(seed,)) for seed in range(THREADS)])
    finally:
        ended.set()
        if changing:
            beside.join()
        sys.setswitchinterval(usual)
        context.close()
    assert not wrong
    assert workers() == before


@pytest.mark.skipif(len(topology().cores) < 2, reason="needs workers")
@pytest.mark.parametrize("scheduler", ["single_stream", "multi_stream"])
def test_every_request_ends_in_a_result_or_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    gc.collect()
    before = workers()
    path, deaths = saved(lookup(), tmp_path), [0]

    def mortal(mailbox: int, bell: int, member: int) -> None:
        """Every other worker is gone as soon as it comes."""
        deaths[0] += 1
        if deaths[0] % 2:
            work(mailbox, bell, member)

    monkeypatch.setattr(crew_module, "work", mortal)
    engine = Engine(path, None, num_streams=2, scheduler=scheduler, input_shapes=[[2, 16]])
    inputs = [engine.generate_random_inputs(1)[0] % 300]
    expected, results, errors = engine.run(inputs)[0], [0], dict[type, int]()
    guard = threading.Lock()

    def caller(seed: int) -> None:
        source = random.Random(seed)
        for turn in range(RUNS // THREADS):
            cancelled = threading.Event()
            if source.random() < 0.1:
                threading.Thread(target=cancelled.set).start()
            timeout = source.choice([None, None, 0, 0.0001, 0.01, 10])
            if seed == 0 and turn % 50 == 0:
                engine._streams.crew.stop()
            try:
                assert np.array_equal(engine.run(inputs, timeout=timeout, cancelled=cancelled)[0], expected)
                with guard:
                    results[0] += 1
            except SparselaneError as error:
                with guard:
                    errors[type(error)] = errors.get(type(error), 0) + 1

    together([threading.Thread(target=caller, args=(seed,)) for seed in range(THREADS)])
    assert results[0] + sum(errors.values()) == RUNS // THREADS * THREADS
    assert set(errors) <= {DeadlineError, RequestCancelledError, WorkerError}
    assert errors[DeadlineError] > 0
    assert results[0] > 0
    assert np.array_equal(engine.run(inputs)[0], expected)
    engine.close()
    assert workers() == before
