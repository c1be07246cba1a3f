"""Functions that exist for the predecessor's sake only."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import engine
from engine import Engine, InputError, OptionError
from engine.bench.__main__ import main as bench
from engine.bench.arguments import parse_input_shapes as parsed_shapes
from engine.frontend import open_model
from engine.kernels.row import Array
from engine.results import BenchmarkResults
from engine.utils import model_to_path

is_release = True
is_enterprise = False
version_major, version_minor, version_bug = (int(part) for part in engine.__version__.split(".")[:3])
version_build = None
version_major_minor = f"{version_major}.{version_minor}"
splash = f"sparselane {engine.__version__}"
log = logging.getLogger("sparselane")


def get_main_logger() -> logging.Logger:
    """The logger of the program."""
    return logging.getLogger("__main__")


def get_nm_root_logger() -> logging.Logger:
    """The logger of the engine."""
    return log


def set_logging_level(level: int | str) -> None:
    """The level of the loggers of the engine, the server and the program."""
    for logger in (log, logging.getLogger("serve"), get_main_logger()):
        logger.setLevel(level)


def get_input_names(model: Any) -> list[str]:
    """Names of the inputs that must be fed."""
    return list(open_model(model_to_path(model)).input_names)


def get_output_names(model: Any) -> list[str]:
    """Names of the outputs."""
    return list(open_model(model_to_path(model)).output_names)


def parse_input_shapes(shape_string: str) -> list[list[int]] | None:
    """`"[1,128],[1,3]"` as lists; None for an empty text. Raises OptionError."""
    shapes = parsed_shapes(shape_string or "")
    return None if shapes is None else [list(shape) for shape in shapes]


def numpy_softmax(x: Array, axis: int = 0) -> Array:
    """Softmax along an axis."""
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def verify_outputs(
    outputs: Sequence[Array], gt_outputs: Sequence[Array], atol: float = 8e-4, rtol: float = 0.0
) -> list[float]:
    """Largest difference of each pair; one beyond the tolerance is logged.

    Raises InputError for another count, shape or dtype.
    """
    if [(a.shape, a.dtype) for a in outputs] != [(a.shape, a.dtype) for a in gt_outputs]:
        message = "outputs and expected outputs differ in count, shape or dtype."
        raise InputError(message)
    for i, (found, expected) in enumerate(zip(outputs, gt_outputs, strict=True)):
        if not np.allclose(found, expected, atol=atol, rtol=rtol):
            log.error("output %d differs by more than atol=%g, rtol=%g", i, atol, rtol)
    return [float(np.max(np.abs(a - b), initial=0.0)) for a, b in zip(outputs, gt_outputs, strict=True)]


def benchmark_model(  # noqa: PLR0913, PLR0917 - the predecessor's
    model: Any,
    inp: list[Array],
    batch_size: int = 1,
    num_cores: int | None = None,
    num_streams: int | None = None,
    num_iterations: int = 20,
    num_warmup_iterations: int = 5,
    include_inputs: bool = False,
    include_outputs: bool = False,
    show_progress: bool = False,
    scheduler: Any = None,
    input_shapes: Any = None,
) -> BenchmarkResults:
    """Compile a model and time it: see Engine.benchmark."""
    made = Engine(model, batch_size, num_cores, num_streams, scheduler, input_shapes)
    return made.benchmark(
        inp, num_iterations, num_warmup_iterations, include_inputs, include_outputs, show_progress
    )


def benchmark_command(  # noqa: PLR0913, PLR0917 - the predecessor's
    model_path: str,
    batch_size: int = 1,
    input_shapes: str = "",
    num_cores: int | None = None,
    scenario: str = "sync",
    time: int = 10,
    warmup_time: int = 2,
    num_streams: int | None = None,
    thread_pinning: str = "core",
    engine: str = "engine",
    quiet: bool = False,
    export_path: str | None = None,
) -> dict[str, Any]:
    """What `sparselane.benchmark` writes to a file, as a dictionary; its arguments are the command's.

    Raises OptionError when the command refuses them.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = export_path or str(Path(folder) / "results.json")
        arguments = [
            *(str(model_path), "-b", str(batch_size), "-i", input_shapes, "-ncores", str(num_cores or 0)),
            *("-s", scenario, "-t", str(time), "-w", str(warmup_time), "-nstreams", str(num_streams or 0)),
            *("-pin", thread_pinning, "-e", "engine" if engine == "deepsparse" else engine, "-x", place),
        ]
        complaint = io.StringIO()
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(io.StringIO()):
            failed = bench([*arguments, *(["-q"] if quiet else [])])
        if failed:
            raise OptionError(complaint.getvalue().strip())
        found: dict[str, Any] = json.loads(Path(place).read_text(encoding="utf-8"))
    return found
