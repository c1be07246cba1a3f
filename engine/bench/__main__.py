"""`python -m engine.bench MODEL`: see arguments.py for the flags, report.py for what is printed.

`python -m engine.bench --kernels`: see the folder kernels; `... MODEL --layers`: see the folder layers;
`... MODEL --schedulers`: see the folder schedulers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.bench import report, sweep
from engine.bench.arguments import PROGRAM, check_export_path, parse_arguments
from engine.bench.engines import check_engine
from engine.bench.foreign import FOREIGN
from engine.bench.job import SCENARIOS, Job, concrete_shapes, has_open_dimensions
from engine.bench.kernels import command as kernels
from engine.bench.kernels.plot import check_plotting
from engine.bench.layers import command as layers
from engine.bench.machine import describe_machine, load_warning, other_load
from engine.bench.schedulers import command as schedulers
from engine.bench.turns import Measurement, measure_alone, measure_in_turns, measure_loads
from engine.bench.validate import Agreement, compare, reference_outputs
from engine.errors import OptionError, SparselaneError, first_line
from engine.frontend import open_model
from engine.machine.topology import topology
from engine.utils import model_to_path


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command by this name.

    Returns the exit code: 0, 1 when a check of kernels failed, or 2 after one line on standard error.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in given
    try:
        if "--kernels" in given:
            return kernels.run(given, program)
        if "--layers" in given:
            return layers.run(given, program)
        if "--schedulers" in given:
            return schedulers.run(given, program)
        _run(parse_arguments(given, program))
    except KeyboardInterrupt:
        return 130
    # A command ends with a sentence, whatever an engine raises.
    except Exception as error:
        if debug:
            traceback.print_exc()
        text = str(error) if isinstance(error, SparselaneError) else first_line(error)
        print(f"error: {text}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    for engine in options.engine:
        check_engine(engine)
    if options.validate:
        check_engine("onnxruntime")
    check_export_path(options.export_path)
    job = _job(options)
    if options.thread_pinning:
        # Read by our engine when it opens; the processes of a comparison inherit it.
        os.environ["ENGINE_PIN"] = options.thread_pinning
    if options.idle_check:
        _note(options, load_warning(other_load()))
    if options.sweep:
        _sweep(options, job)
        return
    measurements = _measure(options, job)
    agreements = _agreements(options, job, measurements)
    _print(options, job, measurements, agreements)
    if options.export_path:
        _export(Path(options.export_path), job, measurements, agreements)


def _sweep(options: argparse.Namespace, job: Job) -> None:
    if options.plot:
        check_plotting(Path(options.plot))
    loads = list(sweep.loads(job))
    points = [
        sweep.point(load, report.summary_of(load, measurement))
        for load, measurement in zip(loads, measure_loads(loads), strict=True)
    ]
    print(sweep.table(points))
    machine = describe_machine()
    if options.plot:
        title = f"{Path(job.model).name}: {machine['cpu']}, {machine['isa_in_use']}, {job.cores} cores"
        sweep.draw(points, title, Path(options.plot))
    if options.export_path:
        content = {"machine": machine, "model": job.model, "loads": [point.as_json() for point in points]}
        Path(options.export_path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _note(options: argparse.Namespace, text: str | None) -> None:
    if text and not options.quiet:
        print(text, file=sys.stderr)


def _job(options: argparse.Namespace) -> Job:
    path = model_to_path(options.model_path)
    inputs = open_model(path).inputs
    shapes = concrete_shapes(inputs, options.input_shapes, options.batch_size)
    if options.input_shapes is None and has_open_dimensions(inputs):
        taken = ", ".join(f"{e.name} {list(s)}" for e, s in zip(inputs, shapes, strict=True))
        _note(options, f"The model leaves dimensions open; taken: {taken}. Name others with -i.")
    cores = options.num_cores or topology().available
    return Job(
        model=options.model_path,
        path=path,
        batch_size=options.batch_size or next((shape[0] for shape in shapes if shape), 1),
        names=tuple(entry.name for entry in inputs),
        dtypes=tuple(entry.dtype.name for entry in inputs),
        shapes=shapes,
        input_shapes=options.input_shapes,
        cores=cores,
        scenario=options.scenario,
        streams=_streams(options, cores),
        seconds=options.time,
        warmup_seconds=options.warmup_time,
    )


def _streams(options: argparse.Namespace, cores: int) -> int:
    if not SCENARIOS[options.scenario].concurrent:
        return 1
    if options.num_streams:
        return int(options.num_streams)
    streams = max(1, cores // 2)
    _note(options, f"num_streams is {streams}, half the cores, which is a guess: tune it with -nstreams.")
    return streams


def _measure(options: argparse.Namespace, job: Job) -> list[Measurement]:
    if any(engine in FOREIGN for engine in options.engine) and job.streams > 1:
        message = f"{', '.join(FOREIGN)} can be timed with one stream only; leave -s away."
        raise OptionError(message)
    if len(options.engine) == 1 and options.engine[0] not in FOREIGN:
        return [measure_alone(job, options.engine[0], outputs=options.validate)]
    return measure_in_turns(job, options.engine, outputs=options.validate, debug=options.debug)


def _agreements(
    options: argparse.Namespace, job: Job, measurements: Sequence[Measurement]
) -> list[list[Agreement] | None]:
    if not options.validate:
        return [None] * len(measurements)
    expected = reference_outputs(job)
    return [compare(measurement.outputs or [], expected) for measurement in measurements]


def _print(
    options: argparse.Namespace,
    job: Job,
    measurements: Sequence[Measurement],
    agreements: Sequence[list[Agreement] | None],
) -> None:
    """Alone, an engine's block stands by itself on standard output; several are told apart below each."""
    several = len(measurements) > 1
    for measurement, rows in zip(measurements, agreements, strict=True):
        summary = report.summary_of(job, measurement)
        print(report.block(job, summary))
        if SCENARIOS[job.scenario].concurrent:
            print(report.percentiles(summary))
        if several:
            print(f"Engine: {measurement.facts.title}")
        else:
            _note(options, f"Engine: {measurement.facts.title}")
        if rows is not None:
            print(*(f"Against onnxruntime: {row}" for row in rows), sep="\n")
        if several:
            print()
    if several:
        print(report.comparison(job, measurements))


def _export(
    path: Path,
    job: Job,
    measurements: Sequence[Measurement],
    agreements: Sequence[list[Agreement] | None],
) -> None:
    """One engine: its results. Several: a list of them under "engines"."""
    values = [report.exported(job, m, rows) for m, rows in zip(measurements, agreements, strict=True)]
    machine = describe_machine()
    content: dict[str, Any] = {**values[0], "machine": machine}
    if len(values) > 1:
        content = {"machine": machine, "engines": values}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
