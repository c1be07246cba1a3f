"""One engine in a process of its own, for runs in which several take turns.

Spoken over the standard streams, a line of JSON each way:

    {"job": ..., "engine": ..., "outputs": path or null}  ->  {"facts": ...} or {"error": ...}
    {"seconds": s, "warmup_seconds": s}                   ->  {"spans": [[start, end], ...]} or {"error": ...}
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, TextIO

import numpy as np

from engine.bench.engines import open_engine
from engine.bench.job import Job
from engine.bench.timing import take_turn


def serve(requests: TextIO) -> Iterator[dict[str, Any]]:
    """Answers to the requests, in order; an error is the last answer."""
    try:
        first = json.loads(requests.readline())
        job = Job.from_json(first["job"])
        opened = open_engine(first["engine"], job)
        inputs = job.inputs()
        outputs = opened.run(inputs)
        if first["outputs"] is not None:
            np.savez(first["outputs"], *outputs)
        yield {"facts": asdict(opened.facts)}
        for line in requests:
            turn = json.loads(line)
            times = turn["seconds"], turn["warmup_seconds"]
            yield {"spans": take_turn(lambda: opened.run(inputs), *times, job.streams)}
    # Whatever an engine raises is told to the other side.
    except Exception as error:
        traceback.print_exc()
        yield {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer on the standard output as it was, while libraries that print are sent to standard error."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for answer in serve(sys.stdin):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
