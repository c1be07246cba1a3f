"""Sentiment analysis on the embedded model, in seconds: `python -m pipelines.demo ["A text." ...]`."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from statistics import median
from time import perf_counter

from engine import Engine, explain
from pipelines.command import exit_code
from pipelines.engines import EngineLike
from pipelines.pipeline import Pipeline
from pipelines.timers import ENGINE_FORWARD, TOTAL_INFERENCE

TEXTS = (
    "The sentiment analysis pipeline is fast and easy to use.",
    "An hour of my life that I will never get back.",
    "The plot is thin, but the cast makes up for it with charm.",
)
RUNS = 50


def run_demo(texts: list[str], engine_type: str = "engine") -> None:
    """Print answers, latency and what ran accelerated."""
    begin = perf_counter()
    pipeline = Pipeline.create("sentiment_analysis", engine_type=engine_type, benchmark=True)
    loaded = perf_counter()
    answers = [(text, pipeline(text)) for text in texts]
    answered = perf_counter()
    print(f"\nSentiment analysis with {pipeline.deployment.folder.name}\n")
    for text, answer in answers:
        short = textwrap.shorten(text, 76, placeholder=" ...")
        print(f"  {answer.labels[0]:<9} {answer.scores[0]:.3f}   {short}")
    print(f"\n  Load and compile    {loaded - begin:.2f} s, then {answered - loaded:.3f} s to the answers")
    _print_latency(pipeline, texts)
    _print_layers(pipeline.engine)
    print()


def _print_latency(pipeline: Pipeline, texts: list[str]) -> None:
    pipeline.timer_manager.clear()
    for index in range(RUNS):
        pipeline(texts[index % len(texts)])
    seconds = pipeline.timer_manager.all_times
    total, engine = median(seconds[TOTAL_INFERENCE]), median(seconds[ENGINE_FORWARD])
    print(
        f"  Latency             {total * 1e3:.2f} ms per text (median of {RUNS}), "
        f"{engine * 1e3:.2f} ms of it in the engine"
    )


def _print_layers(engine: EngineLike) -> None:
    if not isinstance(engine, Engine):
        print("  Accelerated         unknown: this is not our engine")
        return
    found = explain(engine)
    steps = len(found.layers)
    print(
        f"  Accelerated         {steps - len(found.on_host)} of {steps} layers at {found.isa_level}, "
        f"{found.fraction_of_supported_ops:.0%} of the model's nodes:"
    )
    for (op, kernel), count in Counter((layer.op, layer.kernel) for layer in found.layers).most_common():
        print(f"    {count:>4} x {op:<18} {kernel}")


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run_demo(sys.argv[1:] or list(TEXTS))))
