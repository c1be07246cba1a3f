"""Many requests of many threads, while models come and go, workers die, deadlines pass and callers cancel."""

from __future__ import annotations

import gc
import itertools
import random
import sys
import threading
from collections.abc import Callable
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
from engine.jit import compiled
from engine.kernels.simd.memory import read_i64
from engine.machine.atomics import exchange_word, load_word, store_word
from engine.machine.topology import topology
from engine.machine.waiting import give_way
from engine.plan.table import CLAIMS, ROW, TILES
from engine.runtime import crew as crew_module
from engine.runtime.mailbox import BUSY, COUNTERS, FROM, PARTS, RAISED, SEQUENCE, STOP, TABLE, TO
from engine.runtime.walk import first_tile
from engine.runtime.worker import work

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cores")]
THREADS, RUNS = 8, 10_000
PADDED = Path(__file__).parents[2] / "data" / "exported" / "bert_eager_ts17.onnx"


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("sparselane-")}


def together(calls: list[threading.Thread]) -> None:
    for thread in calls:
        thread.start()
    for thread in calls:
        thread.join()


def padded(engine: MultiModelEngine) -> list[list[np.ndarray]]:
    """Requests with masks of all lengths, so that the lanes of a plan change with every one of them."""
    source, made = np.random.default_rng(2), []
    for _ in range(20):
        ids, mask, types = engine.generate_random_inputs(1)
        lengths = source.integers(1, ids.shape[1] + 1, (len(ids), 1))
        mask[:] = np.arange(ids.shape[1]) < lengths
        made.append([source.integers(0, 40, ids.shape), mask, types * 0])
    return made


def descriptors_open() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@pytest.mark.parametrize(
    ("runs", "interval", "changing"),
    [(RUNS, 0.005, False), (RUNS // 20, 1e-6, False), (RUNS // 5, 0.005, True)],
)
def test_results_of_all_models_are_those_of_one_thread(
    tmp_path: Path, runs: int, interval: float, changing: bool
) -> None:
    before = workers()
    small = saved(perceptron(), tmp_path, "small.onnx"), saved(lookup(), tmp_path, "lookup.onnx")
    large = "synthetic:minilm-l6?layers=1&sparsity=0.8&quantized=1"
    forms = [(small[0], None), (small[1], [[4, 16]]), (large, [[1, 16]]), (str(PADDED), [[3, 24]])]
    context = Context(num_streams=2)
    engines = [
        MultiModelEngine(model, 4 if shapes is None else shapes[0][0], context, shapes)
        for model, shapes in forms
    ]
    requests = [[engine.generate_random_inputs(1)] for engine in engines]
    requests[1] = [[requests[1][0][0] % 300]]
    requests[3] = padded(engines[3])
    alone = [
        Engine(model, e.batch_size, 1, input_shapes=s) for (model, s), e in zip(forms, engines, strict=True)
    ]
    expected = [[one.run(inputs) for inputs in of] for one, of in zip(alone, requests, strict=True)]
    wrong: list[int] = []
    ended = threading.Event()

    def caller(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(runs):
            i = source.randrange(len(engines))
            which = source.randrange(len(requests[i]))
            outputs = engines[i].run(requests[i][which])
            wrong.extend(
                i for y, want in zip(outputs, expected[i][which], strict=True) if not np.array_equal(y, want)
            )

    def loader() -> None:
        while not ended.is_set():
            with MultiModelEngine(small[0], 4, context) as engine:
                outputs = engine.run(requests[0][0])
                wrong.extend([9] if not np.array_equal(outputs[0], expected[0][0][0]) else [])

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


@compiled("i64", "i64", "i64", result="void")
def _claim_last_tiles_and_end(mailbox: int, bell: int, member: int) -> None:
    """A worker that takes the tiles of the last step of the first request that it is rung for, and ends at work."""
    while load_word(bell + RAISED) == 0 and load_word(bell + STOP) == 0:
        give_way()
    store_word(mailbox, bell + BUSY)
    sequence, counters, parts = (
        load_word(mailbox + SEQUENCE),
        load_word(mailbox + COUNTERS),
        read_i64(mailbox + PARTS),
    )
    last = load_word(mailbox + TO) - 1
    claimed = 0
    if sequence & 1 == 0 and counters != 0 and last >= load_word(mailbox + FROM):
        row = load_word(mailbox + TABLE) + last * ROW
        for part in range(parts):
            word = counters + last * ROW + CLAIMS + 8 * part
            claim, end = load_word(word), first_tile(read_i64(row + TILES), part + 1, parts)
            if claim >> 32 == sequence and claim & 0xFFFFFFFF < end:
                claimed += exchange_word(word, claim, (sequence << 32) + end)
    if claimed == 0:
        store_word(0, bell + BUSY)


def mortals() -> Callable[[int, int, int], None]:
    """Every other worker is gone as soon as it comes; now and then one dies at work."""
    numbers = itertools.count(1)

    def mortal(mailbox: int, bell: int, member: int) -> None:
        number = next(numbers)
        if number % 40 == 20:
            _claim_last_tiles_and_end(mailbox, bell, member)
        elif number % 2:
            work(mailbox, bell, member)

    return mortal


@pytest.mark.skipif(len(topology().cores) < 2, reason="needs workers")
@pytest.mark.parametrize("scheduler", ["single_stream", "multi_stream"])
def test_every_request_ends_in_a_result_or_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    gc.collect()
    before, descriptors = workers(), descriptors_open()
    path = saved(lookup(), tmp_path)
    monkeypatch.setattr(crew_module, "work", mortals())
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
    monkeypatch.setattr(crew_module, "work", work)
    engine._streams.crew.stop()
    assert np.array_equal(engine.run(inputs)[0], expected)
    engine.close()
    assert workers() == before
    assert descriptors_open() <= descriptors
    # With a core a stream, callers stand in for most workers; on a busy machine for all of them.
    if scheduler == "single_stream" and not errors.get(WorkerError):
        pytest.skip("no worker came in time to die at work: the machine is busy")
