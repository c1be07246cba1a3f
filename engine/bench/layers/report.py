"""A profile as a table for people, and as a dictionary by the predecessor's keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.api.engine import Engine
from engine.bench.layers.measure import Profile, StepTime, profile
from engine.kernels.row import Array
from engine.machine.topology import topology

_HEAD = ("Name", "Op", "Kernel", "Zeros", "Time(ms)", "Share", "GFLOP/s", "Peak", "Read(KB)")


def _row(step: StepTime, total: float) -> tuple[str, ...]:
    rate, share, zeros = step.operations_per_second, step.share_of_peak, step.layer.sparsity
    return (
        step.layer.name[-48:],
        step.layer.op,
        step.layer.kernel,
        "" if zeros is None else f"{100 * zeros:.1f} %",
        f"{1e3 * step.seconds:.4f}",
        f"{100 * step.seconds / total:.1f} %",
        "" if rate is None else f"{rate / 1e9:.1f}",
        "" if share is None else f"{100 * share:.0f} %",
        f"{step.bytes_read / 1024:.1f}",
    )


def table(found: Profile) -> str:
    """One row a step, then the sums: of the steps, of whole requests in the same run, and by kind of step."""
    total = found.sum_of_steps
    rows = [_HEAD, *(_row(step, total) for step in found.steps)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    kinds: dict[str, float] = {}
    for step in found.steps:
        kinds[step.layer.op] = kinds.get(step.layer.op, 0.0) + step.seconds
    breakdown = [
        f"{kind}: {1e3 * seconds:.4f} ms, {100 * seconds / total:.1f} %"
        for kind, seconds in sorted(kinds.items(), key=lambda entry: -entry[1])
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"Total Time(MS): {1e3 * found.seconds:.4f}",
            f"Items per second: {found.batch_size / found.seconds:.4f}",
            f"Batch Size: {found.batch_size}",
            f"Number of threads: {found.cores}",
            "",
            "== Layer Breakdown ==",
            *breakdown,
            f"== Summed Total Time: {1e3 * total:.4f} ms, {100 * total / found.seconds:.1f} % of the whole",
        ]
    )


def as_json(found: Profile) -> dict[str, Any]:
    """The profile by the predecessor's keys; times in milliseconds, rates in 10^12 operations a second."""
    return {
        "batch_size": found.batch_size,
        "num_threads": found.cores,
        "num_sockets": len({core.socket for core in topology().cores}) or 1,
        "average_total_time": 1e3 * found.seconds,
        "sum_of_steps": 1e3 * found.sum_of_steps,
        "items_per_second": found.batch_size / found.seconds,
        "iteration_times": [1e3 * seconds for seconds in found.whole],
        "layer_info": [_layer(step) for step in found.steps],
    }


def _layer(step: StepTime) -> dict[str, Any]:
    rate = step.operations_per_second
    return {
        "name": step.layer.name,
        "canonical_name": step.layer.name,
        "op": step.layer.op,
        "kernel": step.layer.kernel,
        "reason": step.layer.reason,
        "kernel_sparsity": step.layer.sparsity,
        "required_flops": step.operations,
        "average_run_time_in_ms": 1e3 * step.seconds,
        "average_utilization": step.share_of_peak,
        "average_teraflops_per_second": None if rate is None else rate / 1e12,
        "bytes_read": step.bytes_read,
        "throughput_mb_per_second": step.bytes_read / step.seconds / 1e6,
        "sub_layer_info": [],
    }


def model_debug_analysis(  # noqa: PLR0913 - the predecessor's
    model: Any,
    inp: list[Array],
    batch_size: int | None = 1,
    num_cores: int | None = None,
    num_iterations: int = 20,
    num_warmup_iterations: int = 5,
    *,
    scheduler: Any = None,
    input_shapes: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Time, kernel, zeros and rate of every step of a model for these inputs: see `as_json`.

    The options are those of an Engine. Raises what Engine raises, and OptionError for fewer than one iteration.
    """
    with Engine(model, batch_size, num_cores, scheduler=scheduler, input_shapes=input_shapes) as engine:
        return as_json(profile(engine, inp, num_iterations, num_warmup_iterations))
