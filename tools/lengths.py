"""What the length of rows costs: time at 64, 128 and 384 tokens, and buckets beside a single length in time and memory.

    python tools/lengths.py [--rounds 7]

Times are medians of rounds in which all lengths take turns. Memory is what a process of its own grows by (resident,
mapped files included) from before the pipeline is made until every bucket has answered.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402

from engine.cpu import cpu_architecture  # noqa: E402
from pipelines import Pipeline  # noqa: E402

TASK = "question-answering"
BUCKETS = [16, 32, 64, 128]
CALLS = 40


def filled(pipeline: Any, tokens: int) -> dict[str, str]:
    """A request of exactly so many tokens."""
    encoder = pipeline.exact_encoder()
    frame = len(encoder.frame([encoder.pieces("who").ids, []]).ids)
    return {"question": "who", "context": " ".join(["it"] * (tokens - frame))}


def paces(rounds: int, requests: dict[str, tuple[Any, dict[str, str]]]) -> dict[str, float]:
    """Milliseconds of a call by name, the requests in turns."""
    times: dict[str, list[float]] = {name: [] for name in requests}
    for _ in range(rounds):
        for name, (pipeline, request) in requests.items():
            pipeline(**request)
            begin = perf_counter()
            for _ in range(CALLS):
                pipeline(**request)
            times[name].append((perf_counter() - begin) / CALLS * 1e3)
    return {name: median(found) for name, found in times.items()}


def growth(lengths: list[int]) -> float:
    """Megabytes that a fresh process grows by for a pipeline with these buckets."""
    command = [sys.executable, __file__, "--child", json.dumps(lengths)]
    # The first one may have to compile kernels, for which there is a compiler in memory.
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _child(lengths: list[int]) -> None:
    # What every process has that made one pipeline: code, libraries, a team of threads.
    Pipeline.create("image-classification")
    process = psutil.Process()
    before = process.memory_info().rss
    pipeline: Any = Pipeline.create(TASK, sequence_length=lengths)
    for length in lengths:
        pipeline(**filled(pipeline, length))
    sys.stdout.write(f"{(process.memory_info().rss - before) / 1e6:.1f}\n")


def _arena(length: int) -> float:
    """Megabytes of the arena of a plan for rows of this length."""
    engine: Any = Pipeline.create(TASK, sequence_length=length).engine
    return float(engine.compiled.plan.arena_bytes / 1e6)


def main() -> int:
    """Print times and memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child(json.loads(given.child))
        return 0
    found = cpu_architecture()
    sys.stdout.write(
        f"{platform.machine()} {found.vendor}, {found.num_cores} cores, {found.isa_level}; {TASK}\n"
    )
    made: dict[Any, Any] = {
        length: Pipeline.create(TASK, sequence_length=length) for length in (16, 64, 128, 384)
    }
    buckets: Any = Pipeline.create(TASK, sequence_length=[16, 128])
    requests = {f"full rows of {length}": (made[length], filled(made[length], length)) for length in made}
    short = filled(made[16], 16)
    requests |= {f"16 tokens in rows of {length}": (made[length], short) for length in (64, 384)}
    requests |= {"16 tokens in buckets of 16 and 128": (buckets, short)}
    for name, pace in paces(given.rounds, requests).items():
        sys.stdout.write(f"{name:<40} {pace:6.2f} ms\n")
    weights = Path(made[16].onnx_file_path).stat().st_size / 1e6
    arenas = {length: _arena(length) for length in BUCKETS}
    one, together = growth([128]), growth(BUCKETS)
    share = (together - one - sum(arenas.values()) + arenas[128]) / weights
    sys.stdout.write(
        f"memory: weights {weights:.1f} MB; rows of 128 {one:.1f} MB; buckets {BUCKETS} {together:.1f} MB, their arenas "
        f"{sum(arenas.values()):.1f} MB: {share:.2f} of the weights more than one length (at most 0.20)\n"
    )
    return 0 if share <= 0.2 else 1


if __name__ == "__main__":
    sys.exit(main())
