"""Console scripts: `sparselane.NAME`, with the predecessor's flags. A wrong input ends with one line and code 2."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence


def _given(arguments: Sequence[str] | None) -> list[str]:
    return sys.argv[1:] if arguments is None else list(arguments)


def _with_files(words: list[str]) -> list[str]:
    """Names of embedded models as the files that they are, for commands of the engine, which knows no pipelines."""
    if not any(word.startswith("embedded:") for word in words):
        return words
    from pipelines.deployment import EMBEDDED, locate

    return [str(locate(word).onnx_file) if word.startswith(EMBEDDED) else word for word in words]


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

    given = ["engine" if word == "deepsparse" else word for word in _given(arguments)]
    return _guarded(lambda: main(_with_files(given), "sparselane.benchmark"))


def debug_analysis(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.debug_analysis MODEL`: time, kernel, zeros and rate of every step."""
    from engine.bench.__main__ import main

    return _guarded(lambda: main([*_with_files(_given(arguments)), "--layers"], "sparselane.debug_analysis"))


def server(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.server`: pipelines over HTTP."""
    from serve.command import main

    return main(_given(arguments), "sparselane.server")


def annotate(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.annotate`: boxes drawn on images; `--source X` is the same as `X`."""
    from pipelines.annotate import main

    given = [word for word in _given(arguments) if word != "--source"]
    return _guarded(lambda: main(given, "sparselane.annotate"))


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
    from engine.kernels.cost import Coefficients
    from engine.machine.rates import rates_file, read_rates

    if read_rates(len(Coefficients._fields)):
        return str(rates_file())
    return "none; `python -m engine.warm --calibrate` measures them"


def analyze(arguments: Sequence[str] | None = None) -> int:
    """`sparselane.analyze MODEL`: which kernel every step takes, zeros of its weights, and why."""
    return _guarded(lambda: _analyze(_with_files(_given(arguments))))


def _analyze(arguments: list[str]) -> int:
    from engine import explain
    from engine.bench.arguments import parse_input_shapes
    from pipelines.command import Parser

    parser = Parser("sparselane.analyze", analyze.__doc__)
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
    """`sparselane.infer --task TASK INPUT ...`: answers of a pipeline, one JSON line each."""
    from pipelines.infer import main

    return _guarded(lambda: main(_given(arguments), "sparselane.infer"))
