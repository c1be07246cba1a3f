"""What is printed and what is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine import __version__
from engine.bench.job import SCENARIOS, Job
from engine.bench.timing import Summary, summarise
from engine.bench.turns import Measurement
from engine.bench.validate import Agreement


def summary_of(job: Job, measurement: Measurement) -> Summary:
    """Figures of one engine under the job's batch size."""
    return summarise(measurement.turns, job.batch_size)


def block(job: Job, summary: Summary) -> str:
    """The block that scripts read: labels, order and digits are fixed."""
    lines = (
        f"Original Model Path: {job.model}",
        f"Batch Size: {job.batch_size}",
        f"Scenario: {job.scenario}",
        f"Throughput (items/sec): {summary.items_per_second:.4f}",
        f"Latency Mean (ms/batch): {summary.mean:.4f}",
        f"Latency Median (ms/batch): {summary.median:.4f}",
        f"Latency Std (ms/batch): {summary.std:.4f}",
        f"Iterations: {summary.iterations}",
    )
    return "\n".join(lines)


def percentiles(summary: Summary) -> str:
    """The tail, for loads of several callers."""
    values = ", ".join(f"{name} {value:.4f}" for name, value in summary.percentiles.items())
    return f"Latency Percentiles (ms/batch): {values}"


def exported(job: Job, measurement: Measurement, agreements: Sequence[Agreement] | None) -> dict[str, Any]:
    """The content of the exported file for one engine: the keys that scripts read, then ours."""
    facts, scenario = measurement.facts, SCENARIOS[job.scenario].result_name
    values: dict[str, Any] = {
        "engine": facts.printed,
        "version": __version__,
        "orig_model_path": job.model,
        "model_path": job.path,
        "batch_size": job.batch_size,
        "input_shapes": job.input_shapes,
        "num_cores": job.cores,
        "scenario": scenario,
        "scheduler": facts.scheduler,
        "seconds_to_run": job.seconds,
        "num_streams": facts.num_streams or job.streams,
        "benchmark_result": summary_of(job, measurement).as_json(scenario),
        "fraction_of_supported_ops": facts.fraction_of_supported_ops,
        "engine_name": facts.name,
        "engine_version": facts.version,
        "engine_detail": facts.detail,
        "threads": facts.threads,
        "shapes": dict(zip(job.names, job.shapes, strict=True)),
    }
    if agreements is not None:
        values["validation"] = [agreement.as_json() for agreement in agreements]
    return values


def comparison(job: Job, measurements: Sequence[Measurement]) -> str:
    """Engines side by side; the last column says how many times the first engine's throughput each has."""
    summaries = [summary_of(job, measurement) for measurement in measurements]
    first = summaries[0].items_per_second
    rows = [("engine", "version", "threads", "median ms", "p90 ms", "least ms", "items/s", "against first")]
    for measurement, summary in zip(measurements, summaries, strict=True):
        facts = measurement.facts
        rows.append(
            (
                facts.name,
                facts.version,
                str(facts.threads),
                f"{summary.median:.3f}",
                f"{summary.percentiles['90.0%']:.3f}",
                f"{summary.least:.3f}",
                f"{summary.items_per_second:.1f}",
                f"{summary.items_per_second / first:.2f}x",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, numbers to the right."""
    cells = [
        text.ljust(width) if column < 2 else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells)
