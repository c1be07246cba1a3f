"""DeepSparse 1.8 as a worker of the benchmark: run by its own interpreter (Python 3.11 or older, numpy < 1.24).

Its licence allows evaluation in development and test. See `engine.bench.worker` for what is said on the two streams.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["NM_DISABLE_ANALYTICS"] = "1"


def _with_shapes(job: dict[str, Any], folder: str) -> str:
    """A copy of the model with its inputs' shapes fixed: the engine's own option rewrites the file in place."""
    import onnx

    model = onnx.load(job["path"])
    shapes = dict(zip(job["names"], job["shapes"], strict=True))
    for entry in model.graph.input:
        for dimension, size in zip(
            entry.type.tensor_type.shape.dim, shapes.get(entry.name, ()), strict=False
        ):
            dimension.dim_value = size
    path = str(Path(folder) / "model.onnx")
    onnx.save(model, path)
    return path


def _turn(run: Callable[[], object], seconds: float) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    until = time.perf_counter() + seconds
    while not spans or spans[-1][1] < until:
        start = time.perf_counter()
        run()
        spans.append((start, time.perf_counter()))
    return spans


def _serve(say: Callable[[dict[str, Any]], None]) -> None:
    import numpy as np

    first = json.loads(sys.stdin.readline())
    job = first["job"]
    with tempfile.TemporaryDirectory() as folder:
        import deepsparse

        opened = deepsparse.Engine(_with_shapes(job, folder), job["batch_size"], num_cores=job["cores"])
    with np.load(first["inputs"]) as stored:
        inputs = [stored[name] for name in job["names"]]
    outputs = opened.run(inputs)
    if first["outputs"] is not None:
        np.savez(first["outputs"], *outputs)
    facts = {
        "name": first["engine"],
        "version": deepsparse.__version__,
        "threads": job["cores"],
        "printed": str(opened),
        "detail": "VNNI" if opened.cpu_vnni else opened.cpu_avx_type,
        "fraction_of_supported_ops": opened.fraction_of_supported_ops,
    }
    say({"facts": facts})
    for line in sys.stdin:
        turn = json.loads(line)
        _turn(lambda: opened.run(inputs), turn["warmup_seconds"])
        say({"spans": _turn(lambda: opened.run(inputs), turn["seconds"])})


def main() -> None:
    """Answer on the standard output as it was; the engine's own lines go to standard error."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

        def say(answer: dict[str, Any]) -> None:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

        try:
            _serve(say)
        # Whatever the engine raises is told to the other side.
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})
            raise


if __name__ == "__main__":
    main()
