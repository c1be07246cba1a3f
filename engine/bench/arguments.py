"""The command line: flags, their defaults, and how their text is read."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from engine.bench.engines import ENGINES
from engine.bench.job import SCENARIOS
from engine.errors import OptionError

_DESCRIPTION = """Time a model on this machine: one engine, or several in turns.

MODEL is an ONNX file, a folder with a model.onnx, or synthetic:NAME (random weights, real graphs), for
example 'synthetic:bert-base?sparsity=0.9&quantized=1' or synthetic:resnet50-p95-qdq.

`python -m engine.bench --kernels [FAMILY ...]` times the product kernels instead; --kernels --help shows its flags."""
PROGRAM = "python -m engine.bench"


class Parser(argparse.ArgumentParser):
    """Raises instead of leaving the process, so that there is one place that prints errors."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(message)


def check_export_path(export_path: str | None) -> None:
    """Better before the measuring than after it. Raises OptionError."""
    if not export_path:
        return
    path = Path(export_path).absolute()
    if not path.parent.is_dir():
        reason = "its folder does not exist"
    elif path.is_dir():
        reason = "it is a folder"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "this user may not"
    else:
        return
    message = f"cannot write {export_path}: {reason}. Name another file."
    raise OptionError(message)


def parse_input_shapes(text: str) -> tuple[tuple[int, ...], ...] | None:
    """Read "[1,128],[1,128]", "[[1,128],[1,128]]" or "[64,384]"; nothing gives None.

    Raises OptionError for anything else.
    """
    plain = re.sub(r"\s", "", text)
    if not plain:
        return None
    if plain.startswith("[[") and plain.endswith("]]"):
        plain = plain[1:-1]
    if not re.fullmatch(r"\[\d+(,\d+)*\](,\[\d+(,\d+)*\])*", plain):
        message = f'input shapes are written like "[1,128],[1,128]"; got {text!r}.'
        raise OptionError(message)
    shapes = re.findall(r"\[([\d,]+)\]", plain)
    return tuple(tuple(map(int, shape.split(","))) for shape in shapes)


def _at_least(least: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    """A reader of numbers; argparse shows its name in messages."""

    def read(text: str) -> float:
        number = kind(text)
        if not number >= least:
            message = f"{text} is less than {least}"
            raise argparse.ArgumentTypeError(message)
        return number

    read.__name__ = "whole number" if kind is int else "number"
    return read


_WHOLE, _SECONDS = _at_least(0, int), _at_least(0, float)

_FLAGS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-e", "--engine"),
        {
            "action": "append",
            "metavar": "ENGINE",
            "help": f"{', '.join(ENGINES)}, or FILE.py:CLASS (default: engine); repeat to compare in turns",
        },
    ),
    (
        ("-b", "--batch_size", "--batch-size"),
        {"type": _at_least(1, int), "metavar": "N", "help": "items per call (default: the shapes', else 1)"},
    ),
    (
        ("-i", "-shapes", "--input_shapes", "--input-shapes"),
        {"default": "", "metavar": "SHAPES", "help": '"[1,128],[1,128]"; one shape is used for all inputs'},
    ),
    (
        ("-ncores", "--num_cores", "--num-cores"),
        {"type": _WHOLE, "default": 0, "metavar": "N", "help": "physical cores (default: all)"},
    ),
    (
        ("-s", "--scenario"),
        {
            "choices": tuple(SCENARIOS),
            "default": "sync",
            "help": "one call after another, or several callers at once (default: sync)",
        },
    ),
    (
        ("-t", "--time"),
        {
            "type": _SECONDS,
            "default": 10.0,
            "metavar": "SECONDS",
            "help": "measured, per engine (default: 10)",
        },
    ),
    (
        ("-w", "--warmup_time", "--warmup-time"),
        {"type": _SECONDS, "default": 2.0, "metavar": "SECONDS", "help": "before that (default: 2)"},
    ),
    (
        ("-nstreams", "--num_streams", "--num-streams"),
        {
            "type": _WHOLE,
            "default": 0,
            "metavar": "N",
            "help": "callers at once in async and elastic (default: half the cores)",
        },
    ),
    (
        ("-pin", "--thread_pinning", "--thread-pinning"),
        {
            "choices": ("none", "core", "numa"),
            "help": "threads of our engine; none leaves them to the system (default: as ENGINE_PIN says)",
        },
    ),
    (
        ("--sweep",),
        {"action": "store_true", "help": "time batches 1, 4, 16 under 1, 2 ... streams, our engine only"},
    ),
    (("--plot",), {"metavar": "FILE", "help": "with --sweep: throughput against latency as a picture"}),
    (("-q", "--quiet"), {"action": "store_true", "help": "results only"}),
    (("-x", "--export_path", "--export-path"), {"metavar": "FILE", "help": "write the results as JSON"}),
    (("--validate",), {"action": "store_true", "help": "compare the outputs with ONNX Runtime's"}),
    (("--idle-check",), {"action": "store_true", "help": "warn when others use this machine"}),
    (("--debug",), {"action": "store_true", "help": "show the whole traceback of an error"}),
)


def parse_arguments(arguments: Sequence[str] | None, program: str = PROGRAM) -> argparse.Namespace:
    """Read the command line of the command by this name; `engine` is a list without repetition. Raises OptionError."""
    parser = Parser(
        program,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model_path", metavar="MODEL")
    for names, rest in _FLAGS:
        parser.add_argument(*names, **rest)
    parsed = parser.parse_args(arguments)
    parsed.engine = list(dict.fromkeys(parsed.engine or ["engine"]))
    parsed.input_shapes = parse_input_shapes(parsed.input_shapes)
    return parsed
