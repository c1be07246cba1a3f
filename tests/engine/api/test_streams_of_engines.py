"""Engines under the schedulers, in contexts, with limits, closed, forked, interrupted."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import lookup, perceptron, saved

from engine import (
    ClosedError,
    Context,
    DeadlineError,
    Engine,
    MultiModelEngine,
    OptionError,
    RequestCancelledError,
    Scheduler,
    compile_model,
)
from engine.api.placement import streams_to_use
from engine.compiler import compile_plan
from engine.machine.topology import Core, topology
from engine.runtime.line import Ticket
from engine.runtime.runner import run_plan

pytestmark = pytest.mark.xdist_group("cores")
CORES = len(topology().cores)
HERE = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> str:
    return saved(perceptron(), tmp_path)


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("sparselane-")}


def descriptors_open() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def on_nodes(count: int, each: int) -> list[Core]:
    return [Core(cpu, cpu // each, cpu // each, cpu // each * each) for cpu in range(count * each)]


@pytest.mark.parametrize(
    ("asked", "scheduler", "cores", "streams"),
    [
        (None, Scheduler.single_stream, on_nodes(2, 8), 1),
        (5, Scheduler.single_stream, on_nodes(2, 8), 1),
        (None, Scheduler.multi_stream, on_nodes(1, 2), 1),
        (None, Scheduler.multi_stream, on_nodes(2, 8), 2),
        (None, Scheduler.elastic, on_nodes(4, 16), 4),
        (12, Scheduler.multi_stream, on_nodes(1, 16), 12),
        (12, Scheduler.elastic, on_nodes(1, 2), 2),
    ],
)
def test_number_of_streams(asked: int | None, scheduler: Scheduler, cores: list[Core], streams: int) -> None:
    assert streams_to_use(asked, scheduler, cores) == streams


def test_more_streams_than_cores_are_capped_with_a_warning(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    for engine in (
        Engine(path, 2, num_streams=12, scheduler="multi_stream"),
        compile_model(path, 2, None, 12, "elastic"),
    ):
        assert engine.num_streams == CORES
        assert f"num_streams: {CORES}" in str(engine)
    if CORES < 12:
        assert f"num_streams exceeds num_cores - capping to {CORES}" in caplog.text
    assert Engine(path, 2, num_streams=2).num_streams == 1


@pytest.mark.parametrize("scheduler", ["single_stream", "multi_stream", "elastic"])
def test_results_are_the_same_under_every_scheduler_and_many_callers(tmp_path: Path, scheduler: str) -> None:
    path = saved(lookup(), tmp_path)
    plain = Engine(path, None, num_cores=1)
    cases = [[np.random.default_rng(i).integers(0, 300, (1 + i % 2, 4 + i % 3))] for i in range(6)]
    expected = [plain.run(case)[0] for case in cases]
    engine, wrong = Engine(path, None, num_streams=2, scheduler=scheduler), list[int]()

    def calls(i: int) -> None:
        wrong.extend(i for _ in range(40) if not np.array_equal(engine.run(cases[i])[0], expected[i]))

    threads = [threading.Thread(target=calls, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    assert not wrong


@pytest.mark.parametrize(
    ("scheduler", "streams"), [("single_stream", 1), ("multi_stream", 2), ("elastic", 2)]
)
def test_as_many_requests_overlap_as_there_are_streams(
    path: str, monkeypatch: pytest.MonkeyPatch, scheduler: str, streams: int
) -> None:
    """The first wait inside until the streams are full, so that fewer would hang; more would be seen at any time."""
    streams = min(streams, CORES)
    full, inside, most = threading.Barrier(streams), list[int](), list[int]()

    def watched(*arguments: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        if len(most) <= streams:
            full.wait(60)
        outputs = run_plan(*arguments)
        inside.pop()
        return outputs

    monkeypatch.setattr("engine.api.engine.run_plan", watched)
    engine = Engine(path, 2, num_streams=streams, scheduler=scheduler)
    inputs = engine.generate_random_inputs(0)
    threads = [
        threading.Thread(target=lambda: [engine.run(inputs) for _ in range(20)]) for _ in range(2 * streams)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == streams
    assert len(most) == 40 * streams


def test_a_context_says_what_it_is() -> None:
    for options, cores, streams in (((), None, None), ((1, 8), 1, 1), ((0, 0), None, None)):
        context = Context(*options)
        assert context.num_cores == (cores or topology().available)
        assert streams is None or context.num_streams == streams
        assert context.scheduler is Scheduler.elastic
        assert repr(context) == (
            f"Context(num_cores={context.num_cores}, num_streams={context.num_streams}, scheduler=Scheduler.elastic)"
        )
    for bad in ({"num_cores": -1}, {"num_streams": -1}, {"num_cores": "2"}):
        with pytest.raises(OptionError):
            Context(**bad)


def test_engines_of_a_context_share_threads_and_weights(path: str) -> None:
    before = workers()
    context = Context(num_streams=2)
    engines = [MultiModelEngine(path, batch, context) for batch in (1, 4, 64)]
    for engine in engines:
        inputs = engine.generate_random_inputs(0)
        assert np.array_equal(
            engine.run(inputs)[0], Engine(path, engine.batch_size, num_cores=1).run(inputs)[0]
        )
        assert engine.run(inputs)[0].shape == (engine.batch_size, 4)
        assert engine.num_streams == context.num_streams == min(2, CORES)
        assert engine.scheduler is Scheduler.elastic
    assert len(workers() - before) == (CORES if CORES > 1 else 0)
    assert engines[0]._shared is engines[2]._shared
    with pytest.raises(TypeError, match="Context"):
        MultiModelEngine(path, 1, "context")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        MultiModelEngine(path, 1)  # type: ignore[call-arg]
    context.close()
    assert workers() == before
    with pytest.raises(ClosedError):
        engines[0].run(engines[0].generate_random_inputs())


def test_requests_in_line_are_served_though_their_context_is_closed(path: str) -> None:
    before = workers()
    context = Context(num_streams=1)
    engine = MultiModelEngine(path, 2, context)
    inputs, line, outputs = engine.generate_random_inputs(0), context.value.streams.line, list[Any]()
    expected = engine.run(inputs)[0]
    ticket = Ticket()
    line.enter(ticket)
    threads = [threading.Thread(target=lambda: outputs.extend(engine.run(inputs))) for _ in range(3)]
    for thread in threads:
        thread.start()
    while line.waiting < len(threads):
        time.sleep(0)
    context.close()
    line.leave(ticket)
    for thread in threads:
        thread.join()
    assert [np.array_equal(output, expected) for output in outputs] == [True] * len(threads)
    assert workers() == before


def test_a_request_whose_engine_is_closed_while_it_is_compiled_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(saved(lookup(), tmp_path), None)

    def closing(*arguments: Any) -> Any:
        engine.close()
        return compile_plan(*arguments)

    monkeypatch.setattr("engine.api.plans.compile_plan", closing)
    with pytest.raises(ClosedError):
        engine.run([np.zeros((3, 5), np.int64)])
    assert len(engine._plans) == 0


def test_closed_and_collected_engines_leave_no_threads_and_descriptors(path: str) -> None:
    gc.collect()
    before, descriptors = workers(), descriptors_open()
    for turn in range(6):
        engine = Engine(path, 2, num_streams=min(2, CORES), scheduler="multi_stream" if turn % 2 else None)
        inputs = engine.generate_random_inputs(0)
        shapes, started = engine.output_shapes, workers() - before
        engine.run(inputs)
        if turn < 3:
            engine.close()
            engine.close()
            assert workers() == before
            with pytest.raises(ClosedError):
                engine.run(inputs)
            assert (engine.output_shapes, engine.fraction_of_supported_ops) == (shapes, 1.0)
            assert engine.output_names == ["y"]
        else:
            started = workers() - before
            del engine
            gc.collect()
            for thread in started:
                thread.join(60)
                assert not thread.is_alive()
    with Engine(path, 2) as engine:
        engine.run(inputs)
    assert workers() == before
    assert descriptors_open() <= descriptors


def test_limits_of_a_request(path: str) -> None:
    engine, cancelled = Engine(path, 2), threading.Event()
    inputs = engine.generate_random_inputs(0)
    assert np.array_equal(engine.run(inputs, timeout=60, cancelled=cancelled)[0], engine.run(inputs)[0])
    with pytest.raises(TimeoutError):
        engine.run(inputs, timeout=0)
    cancelled.set()
    with pytest.raises(RequestCancelledError):
        engine.run(inputs, cancelled=cancelled)
    engine.run(inputs)


def test_async_callers(path: str) -> None:
    engine = Engine(path, 2)
    inputs = engine.generate_random_inputs(0)
    expected = engine.run(inputs)[0]

    async def calls() -> None:
        answers = await asyncio.gather(*(engine.run_async(inputs) for _ in range(20)))
        assert all(np.array_equal(answer[0], expected) for answer in answers)
        with pytest.raises(DeadlineError):
            await engine.run_async(inputs, timeout=0)
        # Someone else has the stream: the task can be cancelled while its request waits in line.
        ticket = Ticket()
        engine._streams.line.enter(ticket)
        task = asyncio.create_task(engine.run_async(inputs))
        while not engine._streams.line.waiting:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while engine._streams.line.waiting:
            await asyncio.sleep(0)
        engine._streams.line.leave(ticket)

    asyncio.run(calls())
    assert np.array_equal(engine.run(inputs)[0], expected)


def _answer(engine: Engine, inputs: list[Any], answers: Any) -> None:
    answers.put(engine.run(inputs)[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("scheduler", ["single_stream", "multi_stream"])
def test_a_forked_child_uses_the_engine_even_if_its_stream_was_taken(path: str, scheduler: str) -> None:
    engine = Engine(path, 2, num_streams=2, scheduler=scheduler)
    inputs = engine.generate_random_inputs(0)
    expected = engine.run(inputs)[0]
    tickets = [Ticket() for _ in range(engine.num_streams)]
    for ticket in tickets:
        engine._streams.line.enter(ticket)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_answer, args=(engine, inputs, answers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    assert np.array_equal(answers.get(timeout=60), expected)
    child.join()
    for ticket in tickets:
        engine._streams.line.leave(ticket)
    assert np.array_equal(engine.run(inputs)[0], expected)


BUSY = """
import signal, sys, threading
# Whoever starts the tests in the background leaves SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {here!r})
from engine import Engine
engine = Engine({path!r}, 2, num_streams=2, scheduler={scheduler!r})
inputs = engine.generate_random_inputs(0)
def forever():
    while True:
        engine.run(inputs)
for _ in range(3):
    threading.Thread(target=forever, daemon=True).start()
for _ in range(200):
    engine.run(inputs)
{end}
"""


@contextmanager
def _process(path: str, scheduler: str, end: str) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the test, whatever it does."""
    code = BUSY.format(here=str(HERE), path=path, scheduler=scheduler, end=end)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("scheduler", ["single_stream", "multi_stream"])
def test_the_interpreter_ends_while_requests_run(path: str, scheduler: str) -> None:
    with _process(path, scheduler, 'print("ready")') as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "ready\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_an_interrupt_ends_a_request_and_the_engine_lives_on(path: str) -> None:
    end = """
try:
    print("ready", flush=True)
    forever()
except KeyboardInterrupt:
    engine.run(inputs)
    print("again", flush=True)
"""
    with _process(path, "multi_stream", end) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "again\n", "")
