"""Several engines timed in one run, A B A B: drift of the machine hits all of them alike.

Every engine lives in a process of its own. Who is not timed is stopped, so that threads which spin
while they wait take no core from the one that is.
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from engine.bench.engines import Facts, open_engine
from engine.bench.foreign import FOREIGN
from engine.bench.job import Array, Job
from engine.bench.timing import Span, take_turn
from engine.errors import EngineError

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one engine did: the spans of its turns, and its outputs where they were asked for."""

    facts: Facts
    turns: Sequence[Sequence[Span]]
    outputs: list[Array] | None = None


def measure_alone(job: Job, engine: str, *, outputs: bool) -> Measurement:
    """Time one engine in this process."""
    opened = open_engine(engine, job)
    inputs = job.inputs()
    first = [np.array(output) for output in opened.run(inputs)]
    spans = take_turn(lambda: opened.run(inputs), job.seconds, job.warmup_seconds, job.streams)
    return Measurement(opened.facts, [spans], first if outputs else None)


def measure_loads(jobs: Sequence[Job]) -> list[Measurement]:
    """Time our engine under several loads in this process, in turns; each load's seconds are divided among its turns."""
    opened = [open_engine("engine", job) for job in jobs]
    turns: list[list[list[Span]]] = [[] for _ in jobs]
    for _ in range(ROUNDS):
        for job, engine, taken in zip(jobs, opened, turns, strict=True):
            call = functools.partial(engine.run, job.inputs())
            taken.append(take_turn(call, job.seconds / ROUNDS, job.warmup_seconds / ROUNDS, job.streams))
    return [Measurement(engine.facts, taken) for engine, taken in zip(opened, turns, strict=True)]


def measure_in_turns(job: Job, engines: Sequence[str], *, outputs: bool, debug: bool) -> list[Measurement]:
    """Time engines in turns, ROUNDS each; the job's seconds are divided among an engine's turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sparselane-")))
        members = []
        for index, engine in enumerate(engines):
            kept = folder / f"{index}.npz" if outputs else None
            inputs = folder / "inputs.npz"
            members.append(stack.enter_context(_member(job, engine, kept, inputs, debug=debug)))
        for _ in range(ROUNDS):
            for member in members:
                member.take_turn(job.seconds / ROUNDS, job.warmup_seconds / ROUNDS)
        return [member.measurement() for member in members]


@dataclass(frozen=True, slots=True)
class _Member:
    """The other side of a worker; its process is stopped whenever it is not asked."""

    engine: str
    process: subprocess.Popen[str]
    outputs: Path | None
    facts: Facts
    turns: list[list[Span]] = field(default_factory=list)

    def take_turn(self, seconds: float, warmup_seconds: float) -> None:
        request = {"seconds": seconds, "warmup_seconds": warmup_seconds}
        answer = _ask(self.process, self.engine, request)
        self.turns.append([(start, end) for start, end in answer["spans"]])

    def measurement(self) -> Measurement:
        if self.outputs is None:
            return Measurement(self.facts, self.turns)
        with np.load(self.outputs) as stored:
            return Measurement(self.facts, self.turns, [stored[name] for name in stored.files])


def _written(job: Job, file: Path) -> Path:
    """The inputs in a file, for engines that cannot make them."""
    np.savez(file, **dict(zip(job.names, job.inputs(), strict=True)))  # type: ignore[arg-type]
    return file


@contextmanager
def _member(job: Job, engine: str, outputs: Path | None, inputs: Path, *, debug: bool) -> Iterator[_Member]:
    """A worker that has the model open and is stopped; killed on the way out."""
    foreign = FOREIGN.get(engine)
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.bench.worker"] if foreign is None else foreign.command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if debug else subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            request = {
                "job": job.as_json(),
                "engine": engine,
                "outputs": None if outputs is None else str(outputs),
            }
            if foreign is not None:
                request["inputs"] = str(_written(job, inputs))
            answer = _ask(process, engine, request)
            yield _Member(engine, process, outputs, Facts(**answer["facts"]))
        finally:
            process.kill()


def _ask(process: subprocess.Popen[str], engine: str, request: dict[str, Any]) -> dict[str, Any]:
    requests, answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
    process.send_signal(signal.SIGCONT)
    with suppress(BrokenPipeError):
        requests.write(json.dumps(request) + "\n")
        requests.flush()
    line = answers.readline()
    if not line:
        message = f"the process of engine {engine!r} ended with code {process.wait()}."
        raise EngineError(message)
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        message = f"engine {engine!r}: {answer['error']}"
        raise EngineError(message)
    process.send_signal(signal.SIGSTOP)
    return answer
