"""Console scripts: `sparselane.NAME`, with the predecessor's flags. A wrong input ends with one line and code 2."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any


def _given(arguments: Sequence[str] | None) -> list[str]:
    return sys.argv[1:] if arguments is None else list(arguments)


def _guarded(call: Callable[[], int]) -> int:
    """A command ends with a sentence, whatever is raised."""
    try:
        return call()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        sys.stderr.write(f"error: {lines[0]}\n")
        return 2


def benchmark(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.benchmark MODEL`: engine.bench; `-e deepsparse` means our engine."""
    from engine.bench.__main__ import main

    return main(["engine" if word == "deepsparse" else word for word in _given(arguments)])


def debug_analysis(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.debug_analysis MODEL`: time, kernel, zeros and rate of every step."""
    from engine.bench.__main__ import main

    return main([*_given(arguments), "--layers"])


def server(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.server`: pipelines over HTTP."""
    from serve.command import main

    return main(_given(arguments))


def annotate(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.annotate`: boxes drawn on images; `--source X` is the same as `X`."""
    from pipelines.annotate import main

    return _guarded(lambda: main([word for word in _given(arguments) if word != "--source"]))


def check_hardware(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.check_hardware`: what this machine has and what is used of it."""
    return _guarded(lambda: _check_hardware(_given(arguments)))


def _check_hardware(arguments: list[str]) -> int:
    from engine import OptionError
    from engine.cpu import cpu_architecture, cpu_quantization_compatible

    if arguments and arguments[0] in ("-h", "--help"):
        sys.stdout.write("usage: sparselane.check_hardware: prints what this machine has; no arguments.\n")
        return 0
    if arguments:
        message = f"sparselane.check_hardware takes no arguments; got {' '.join(arguments)}"
        raise OptionError(message)
    found = cpu_architecture()
    quantised = "TRUE" if cpu_quantization_compatible() else "TRUE (emulated)"
    sockets = found.num_sockets
    sys.stdout.write(
        f"{found.vendor} CPU detected with {found.num_cores} cores. "
        f"({sockets} sockets with {found.cores_per_socket} cores each)\n"
        "sparselane FP32 model performance supported: True.\n"
        f"sparselane INT8 (quantized) model performance supported: {quantised}.\n\n"
        f"Instruction set level: {found.isa_level}; AMX tiles: {found.amx_permission}\n"
        f"Cores this process may use: {found.num_available_physical_cores}, "
        f"{found.threads_per_core} hardware threads each\n"
        f"Caches (bytes): L1 {found.L1_data_cache_size}, L2 {found.L2_cache_size}, L3 {found.L3_cache_size}\n"
        f"Measured rates: {_rates()}\n\n"
        f"Additional CPU info: {dict(found)}\n"
    )
    return 0


def _rates() -> str:
    from engine.machine.rates import rates_file

    place = rates_file()
    if place is None or not place.is_file():
        return "none; `python -m engine.warm --calibrate` measures them"
    return str(place)


def analyze(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.analyze MODEL`: which kernel every step takes, zeros of its weights, and why."""
    return _guarded(lambda: _analyze(_given(arguments)))


def _parser(name: str, about: str | None) -> Any:
    import argparse

    from engine import OptionError

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise OptionError(message)

    return Parser(prog=f"sparselane.{name}", description=about, allow_abbrev=False)


def _analyze(arguments: list[str]) -> int:
    from engine import explain
    from engine.bench.arguments import parse_input_shapes

    parser = _parser("analyze", analyze.__doc__)
    parser.add_argument("model_path", metavar="MODEL")
    parser.add_argument("-b", "--batch_size", "--batch-size", type=int, default=1)
    parser.add_argument("-i", "--input_shapes", "--input-shapes", default="")
    parser.add_argument("--save", metavar="FILE", help="write the steps as JSON")
    given = parser.parse_args(arguments)
    shapes = parse_input_shapes(given.input_shapes)
    found = explain(given.model_path, batch_size=given.batch_size, input_shapes=shapes)
    sys.stdout.write(f"{found}\n")
    if given.save:
        from pathlib import Path

        rows = [
            {"name": s.name, "op": s.op, "kernel": s.kernel, "sparsity": s.sparsity, "reason": s.reason}
            for s in found.layers
        ]
        Path(given.save).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def infer(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.infer --task TASK TEXT ...`: answers of a pipeline, one JSON line each."""
    return _guarded(lambda: _infer(_given(arguments)))


def _infer(arguments: list[str]) -> int:
    from pipelines import Pipeline

    parser = _parser("infer", infer.__doc__)
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="texts or images; `-`: lines of standard input"
    )
    parser.add_argument("-t", "--task", default="sentiment-analysis")
    parser.add_argument("--model_path", "--model-path", help="the model; without it, the task's own")
    parser.add_argument("--data", help="a file with one input a line")
    parser.add_argument("-ncores", "--num_cores", "--num-cores", type=int)
    parser.add_argument("--sequence_length", "--sequence-length", type=int)
    given = parser.parse_args(arguments)
    inputs = [word for word in given.inputs if word != "-"]
    if "-" in given.inputs:
        inputs += [line.rstrip("\n") for line in sys.stdin]
    if given.data:
        from pathlib import Path

        inputs += Path(given.data).read_text(encoding="utf-8").splitlines()
    if not inputs:
        parser.error("nothing to answer: give texts, --data FILE, or - for standard input")
    options = {"num_cores": given.num_cores}
    if given.sequence_length:
        options["sequence_length"] = given.sequence_length
    pipeline = Pipeline.create(given.task, given.model_path, **options)
    for word in inputs:
        answer: Any = pipeline(word)
        sys.stdout.write(f"{answer.model_dump_json() if hasattr(answer, 'model_dump_json') else answer}\n")
    return 0
