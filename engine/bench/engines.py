"""The engines that can be timed: one function each, from a job to something that runs."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engine import Engine, __version__
from engine.bench.foreign import FOREIGN
from engine.bench.job import SCENARIOS, Array, Job
from engine.errors import OptionError

Run = Callable[[list[Array]], list[Array]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a result says about the engine that gave it.

    printed    the engine's own printed form
    detail     a word on its precision or the like
    """

    name: str
    version: str
    threads: int
    printed: str
    detail: str = ""
    scheduler: str | None = None
    num_streams: int | None = None
    fraction_of_supported_ops: float | None = None

    @property
    def title(self) -> str:
        """The line that names the engine, "onnxruntime 1.20.1, 2 threads"."""
        parts = [f"{self.name} {self.version}".strip(), f"{self.threads} threads", self.detail]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine with the model loaded."""

    facts: Facts
    run: Run


def open_engine(name: str, job: Job) -> Opened:
    """Load the job's model into the engine of this name.

    Raises OptionError for an unknown engine, or one that is not installed; else whatever the engine raises.
    """
    check_engine(name)
    return ENGINES[name](job) if name in ENGINES else _open_custom(name, job)


def check_engine(name: str) -> None:
    """Raise OptionError unless `name` can be an engine."""
    if name in FOREIGN:
        FOREIGN[name].command()
        return
    file, _, symbol = name.rpartition(":")
    if name not in ENGINES and not (file.endswith(".py") and symbol.isidentifier()):
        message = f"engine {name!r} is unknown; use {', '.join([*ENGINES, *FOREIGN])}, or FILE.py:CLASS."
        raise OptionError(message)
    if name not in ENGINES and not Path(file).is_file():
        message = f"engine {name!r}: there is no file {file}."
        raise OptionError(message)
    package = name.removesuffix("-f32")
    if package in ("onnxruntime", "openvino") and importlib.util.find_spec(package) is None:
        message = f"engine {name!r} is not installed; pip install 'sparselane[compare]' brings it."
        raise OptionError(message)


def _open_ours(job: Job) -> Opened:
    opened = Engine(
        job.path,
        batch_size=job.batch_size,
        num_cores=job.cores,
        num_streams=job.streams,
        scheduler=SCENARIOS[job.scenario].scheduler,
        input_shapes=[list(shape) for shape in job.shapes],
    )

    def run(inputs: list[Array]) -> list[Array]:
        outputs: list[Array] = opened.run(inputs, val_inp=False)
        return outputs

    facts = Facts(
        "engine",
        __version__,
        opened.num_cores,
        str(opened),
        scheduler=str(opened.scheduler),
        num_streams=opened.num_streams,
        fraction_of_supported_ops=opened.fraction_of_supported_ops,
    )
    return Opened(facts, run)


def _open_onnxruntime(job: Job) -> Opened:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.cores
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(job.path, options, providers=["CPUExecutionProvider"])

    def run(inputs: list[Array]) -> list[Array]:
        outputs: list[Array] = session.run(None, dict(zip(job.names, inputs, strict=True)))
        return outputs

    return Opened(Facts("onnxruntime", onnxruntime.__version__, job.cores, "onnxruntime"), run)


def _open_openvino(job: Job) -> Opened:
    return _openvino(job, "openvino", {})


def _open_openvino_f32(job: Job) -> Opened:
    return _openvino(job, "openvino-f32", {"INFERENCE_PRECISION_HINT": "f32"})


def _openvino(job: Job, name: str, properties: dict[str, Any]) -> Opened:
    import openvino

    concurrent = SCENARIOS[job.scenario].concurrent
    properties |= {
        "PERFORMANCE_HINT": "THROUGHPUT" if concurrent else "LATENCY",
        "INFERENCE_NUM_THREADS": job.cores,
    }
    if concurrent:
        properties["NUM_STREAMS"] = job.streams
    core = openvino.Core()
    model = core.read_model(job.path)
    model.reshape({tensor: list(shape) for tensor, shape in zip(job.names, job.shapes, strict=True)})
    compiled = core.compile_model(model, "CPU", properties)
    own = threading.local()

    def run(inputs: list[Array]) -> list[Array]:
        # A request belongs to one caller at a time.
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        feed = dict(zip(job.names, inputs, strict=True))
        return list(own.request.infer(feed, share_inputs=True, share_outputs=True).values())

    precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    number = openvino.__version__.partition("-")[0]
    return Opened(Facts(name, number, job.cores, name, f"f32 layers in {precision}"), run)


def _open_custom(name: str, job: Job) -> Opened:
    """A class of the user's: called with model_path, batch_size and num_cores, and asked to `run` a list."""
    file, _, symbol = name.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        message = f"engine {name!r}: {file} cannot be imported."
        raise OptionError(message)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made_by = getattr(module, symbol, None)
    if not callable(made_by):
        message = f"engine {name!r}: {file} defines no class {symbol}."
        raise OptionError(message)
    custom = made_by(model_path=job.path, batch_size=job.batch_size, num_cores=job.cores)
    scheduler = getattr(custom, "scheduler", None)
    facts = Facts(symbol, "", job.cores, str(custom), scheduler=None if scheduler is None else str(scheduler))
    return Opened(facts, custom.run)


ENGINES: Mapping[str, Callable[[Job], Opened]] = MappingProxyType(
    {
        "engine": _open_ours,
        "deepsparse": _open_ours,
        "onnxruntime": _open_onnxruntime,
        "openvino": _open_openvino,
        "openvino-f32": _open_openvino_f32,
    }
)
