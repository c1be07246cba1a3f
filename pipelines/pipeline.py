"""One class for all tasks: raw input to arrays, arrays through an engine, arrays to an answer."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from numpy.typing import NDArray
from pydantic import BaseModel

from engine import ModelNotFoundError, OptionError
from engine.utils import join_engine_outputs
from pipelines.arguments import known_keywords, named_arguments
from pipelines.batching import split
from pipelines.config import PipelineConfig
from pipelines.deployment import Deployment, locate
from pipelines.engines import EngineArguments, EngineLike, make_engine
from pipelines.names import did_you_mean
from pipelines.registry import Task, all_tasks, find_task, register
from pipelines.timers import ENGINE_FORWARD, POST_PROCESS, PRE_PROCESS, StagedTimer, TimerManager

Array = NDArray[Any]
AnyPipeline = TypeVar("AnyPipeline", bound="Pipeline")

# Arguments that live in this process and have no place in a config.
_NOT_DATA = ("executor", "benchmark", "context", "logger")
_NO_LOGGER = (
    "logger= is not taken: a pipeline writes no log of requests. Read the times of its calls from "
    "pipeline.timer_manager (benchmark=True keeps every call's), and log answers where they are received."
)


class Pipeline(ABC):
    """A task around an engine.

        from pipelines import Pipeline

        classify = Pipeline.create(task="sentiment-analysis")
        print(classify("The film is a delight."))        # labels=['positive'] scores=[0.99]

    A task of one's own is a subclass with `input_schema`, `output_schema`, `process_inputs` and
    `process_engine_outputs`; `@Pipeline.register(task="my-task")` makes `create` know it. An instance may be
    called from several threads.
    """

    task: ClassVar[str | None] = None
    task_aliases: ClassVar[tuple[str, ...]] = ()
    default_model_path: ClassVar[str | None] = None

    _given: dict[str, Any]

    def __new__(cls, *args: Any, **arguments: Any) -> Self:
        pipeline = super().__new__(cls)
        pipeline._given = named_arguments(cls, args, arguments)
        return pipeline

    def __init__(  # noqa: PLR0913 - the keywords that every task shares are public, and written out for help()
        self,
        model_path: str | Path | None = None,
        *,
        engine_type: str = "engine",
        batch_size: int | None = 1,
        num_cores: int | None = None,
        num_streams: int | None = None,
        scheduler: str | None = None,
        input_shapes: list[list[int]] | None = None,
        context: Any | None = None,
        executor: Executor | int | None = None,
        alias: str | None = None,
        benchmark: bool = False,
        logger: object | None = None,
        **unknown: object,
    ) -> None:
        """Find the model's files and compile the model.

        model_path    ONNX file, folder with model.onnx, or stub; None or "default": the task's own model
        engine_type   a name in `pipelines.engines.ENGINES`: "engine", "deepsparse" (the same), "onnxruntime"
        batch_size    rows of every engine call, the last one padded; None: as many rows as there are
        num_cores, num_streams, scheduler, input_shapes    as for `engine.Engine`
        context       an `engine.Context`: the threads and streams that several pipelines share
        executor      runs the batches of one call side by side; a number stands for that many threads
        alias         the instance's own name, for logs
        benchmark     keep every call's timer instead of the last one's
        logger        nothing but None: what the predecessor's loggers recorded is in `timer_manager`

        Raises TypeError for an unknown keyword, OptionError for a value out of range, ModelNotFoundError
        without a model, and what the engine raises while it compiles.
        """
        if logger is not None:
            raise OptionError(_NO_LOGGER)
        if unknown:
            raise TypeError(self._unexpected(next(iter(unknown))))
        self.model_path_orig = None if model_path is None else os.fspath(model_path)
        self.model_path = self._model_or_default()
        self.deployment: Deployment = locate(self.model_path)
        self.engine_type = "engine" if engine_type.lower() == "deepsparse" else engine_type.lower()
        self.alias = alias
        self.context = context
        self.executor = _as_executor(executor)
        self.timer_manager = TimerManager(multi=benchmark)
        self.onnx_file_path = self.setup_onnx_file_path()
        shapes = input_shapes if input_shapes is not None else self.engine_shapes(batch_size)
        self.engine_args = EngineArguments(
            self.onnx_file_path, batch_size, num_cores, num_streams, scheduler, shapes, context
        )
        self.engine: EngineLike = self.setup_engine(self.engine_args)

    # ------------------------------------------------------------ what a task is made of

    @property
    @abstractmethod
    def input_schema(self) -> type[BaseModel]:
        """The pydantic model of a request."""

    @property
    @abstractmethod
    def output_schema(self) -> type[BaseModel]:
        """The pydantic model of an answer."""

    @abstractmethod
    def process_inputs(self, inputs: Any) -> list[Array] | tuple[list[Array], dict[str, Any]]:
        """The engine's inputs for one request, with any number of rows.

        A tuple carries keyword arguments for `process_engine_outputs` along.
        """

    @abstractmethod
    def process_engine_outputs(self, engine_outputs: list[Array], **context: Any) -> BaseModel:
        """The answer, an instance of `output_schema`."""

    def setup_onnx_file_path(self) -> str:
        """The file to compile; the place where a task reads what lies beside it, before that."""
        return str(self.deployment.onnx_file)

    def engine_shapes(self, batch_size: int | None) -> list[list[int]] | None:  # noqa: ARG002
        """The input shapes to compile for when the user names none; None leaves the model's own."""
        return None

    def setup_engine(self, arguments: EngineArguments) -> EngineLike:
        """Compile the model."""
        return make_engine(self.engine_type, arguments)

    def parse_inputs(self, *args: Any, **keywords: Any) -> BaseModel:
        """A request from what the pipeline was called with: one schema object, or the schema's fields."""
        if args and keywords:
            message = "Give either one input object or keywords, not both."
            raise ValueError(message)
        if not args:
            return self.input_schema(**keywords)
        if len(args) > 1 or not isinstance(args[0], self.input_schema):
            message = (
                f"{type(self).__name__} takes one {self.input_schema.__name__} or its fields as keywords: "
                f"{', '.join(self.input_schema.model_fields)}."
            )
            raise ValueError(message)
        return args[0]

    # ------------------------------------------------------------ calling

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """The answer to one request, an instance of `output_schema`.

        Raises pydantic's ValidationError (a ValueError) for a request that does not fit `input_schema`.
        """
        if "engine_inputs" in keywords:
            message = "A pipeline takes its task's input; for arrays, call `pipeline.engine.run` instead."
            raise ValueError(message)
        with self.timer_manager.measure_call() as timer:
            with timer.time(PRE_PROCESS):
                arrays, context = self._prepared(*args, **keywords)
            return self._answer(arrays, context, timer)

    def map(self, requests: Iterable[Any], ahead: int = 2) -> Iterator[Any]:
        """The answers to many requests, in order; the next ones are prepared beside the engine's work.

        requests   each as the pipeline is called with it, or a dictionary of keywords
        ahead      requests that are prepared before their turn

        Raises what a call raises, when its turn comes.
        """
        waiting: deque[Future[tuple[list[Array], dict[str, Any]]]] = deque()
        source = iter(requests)
        with ThreadPoolExecutor(1, thread_name_prefix="prepare") as beside:
            while True:
                for request in islice(source, ahead + 1 - len(waiting)):
                    waiting.append(beside.submit(self._prepared_request, request))
                if not waiting:
                    return
                with self.timer_manager.measure_call() as timer:
                    with timer.time(PRE_PROCESS):
                        arrays, context = waiting.popleft().result()
                    answer = self._answer(arrays, context, timer)
                yield answer

    def _prepared(self, *args: Any, **keywords: Any) -> tuple[list[Array], dict[str, Any]]:
        processed = self.process_inputs(self.parse_inputs(*args, **keywords))
        return processed if isinstance(processed, tuple) else (processed, {})

    def _prepared_request(self, request: Any) -> tuple[list[Array], dict[str, Any]]:
        return self._prepared(**request) if isinstance(request, dict) else self._prepared(request)

    def _answer(self, arrays: list[Array], context: dict[str, Any], timer: StagedTimer) -> Any:
        with timer.time(ENGINE_FORWARD):
            outputs = self.run_batches(arrays)
        with timer.time(POST_PROCESS):
            return self.process_engine_outputs(outputs, **context)

    def engine_forward(self, engine_inputs: list[Array]) -> list[Array]:
        """One engine call."""
        return self.engine.run(engine_inputs)

    def run_batches(self, arrays: list[Array]) -> list[Array]:
        """A request's rows through the engine: cut into its batches, run, and joined again."""
        outputs = self.run_all(split(arrays, self._rows_per_call()))
        return join_engine_outputs(outputs, len(arrays[0])) if outputs else []

    def run_all(self, pieces: list[list[Array]]) -> list[list[Array]]:
        """One engine call for each batch, side by side where there is an executor."""
        if self.executor is not None and len(pieces) > 1:
            return list(self.executor.map(self.engine_forward, pieces))
        return [self.engine_forward(piece) for piece in pieces]

    # ------------------------------------------------------------ by name

    @staticmethod
    def create(
        task: str, model_path: str | Path | None = None, *, model: str | Path | None = None, **arguments: Any
    ) -> Pipeline:
        """The pipeline of a task.

        task    a name or alias in any spelling: "sentiment-analysis", "sentiment_analysis"; `import:` and a
                module or a Python file, which is loaded and must define TASK; any name that begins with "custom"
        model   another word for model_path
        All other keywords go to the task's class.

        Raises OptionError (a ValueError) for an unknown task, listing the known ones; ValueError when both
        model and model_path are given; and what the class raises.
        """
        if model is not None and model_path is not None:
            message = "model and model_path are two words for the same; give one."
            raise ValueError(message)
        chosen = model_path if model is None else model
        return find_task(task).pipeline(chosen, **arguments)

    @staticmethod
    def register(
        task: str, task_aliases: list[str] | None = None, default_model_path: str | None = None
    ) -> Callable[[type[AnyPipeline]], type[AnyPipeline]]:
        """Class decorator: `create` knows the class by this name and these aliases.

        Raises RuntimeError for a class that is no Pipeline, or a name that another class has.
        """

        def decorate(pipeline: type[AnyPipeline]) -> type[AnyPipeline]:
            candidate: object = pipeline  # users without a type checker decorate functions, too
            if not (isinstance(candidate, type) and issubclass(candidate, Pipeline)):
                message = f"Only subclasses of Pipeline can be registered; {pipeline!r} is none."
                raise RuntimeError(message)  # noqa: TRY004 - what callers of `register` have always caught
            register(Task(task, pipeline, tuple(task_aliases or ()), default_model_path))
            return pipeline

        return decorate

    @staticmethod
    def tasks() -> tuple[Task, ...]:
        """Every known task: name, class, aliases, default model."""
        return all_tasks()

    def to_config(self) -> PipelineConfig:
        """The pipeline as data: `Pipeline.from_config(p.to_config())` makes an equal one.

        Raises OptionError when an argument has no JSON form, or the class is not registered.
        """
        if self.task is None:
            message = f"{type(self).__name__} has no task name; register it with @Pipeline.register."
            raise OptionError(message)
        given = {name: value for name, value in self._given.items() if name not in _NOT_DATA}
        given["model_path"] = self.model_path_orig
        shared = {name: given.pop(name) for name in PipelineConfig.model_fields if name in given}
        try:
            own = json.loads(json.dumps(given, default=os.fspath))
        except TypeError as error:
            message = f"An argument has no JSON form ({error}): give a path instead of an object."
            raise OptionError(message) from error
        return PipelineConfig(task=self.task, kwargs=own, **shared)

    @staticmethod
    def from_config(config: PipelineConfig | str | Path) -> Pipeline:
        """The pipeline of a PipelineConfig, of JSON text, or of a JSON file."""
        read = PipelineConfig.read(config)
        shared = read.model_dump(exclude={"task", "model_path", "kwargs"})
        return Pipeline.create(read.task, read.model_path, **shared, **read.kwargs)

    # ------------------------------------------------------------ what it is

    @property
    def batch_size(self) -> int | None:
        """Rows of every engine call; None when each has its own number."""
        return self.engine.batch_size

    @property
    def benchmark(self) -> bool:
        """Whether every call's timer is kept, not only the last one's."""
        return self.timer_manager.multi

    @benchmark.setter
    def benchmark(self, keep_all: bool) -> None:
        self.timer_manager.multi = keep_all

    @property
    def current_timer(self) -> StagedTimer | None:
        """The timer of the call this thread is in, else of the last call."""
        return self.timer_manager.current or self.timer_manager.latest

    def _rows_per_call(self) -> int | None:
        shapes = self.engine.input_shapes
        fixed_by_model = shapes[0][0] if shapes and shapes[0] and shapes[0][0] > 0 else None
        return self.engine.batch_size or fixed_by_model

    def _model_or_default(self) -> str:
        if self.model_path_orig not in (None, "default"):
            return str(self.model_path_orig)
        if self.default_model_path is None:
            message = f'No model_path provided, and task "{self.task}" has no model of its own.'
            raise ModelNotFoundError(message)
        return self.default_model_path

    def _unexpected(self, keyword: str) -> str:
        near = did_you_mean(keyword, known_keywords(type(self)))
        return f'{type(self).__name__} got an unexpected keyword argument "{keyword}"{near}'


def _as_executor(executor: Executor | int | None) -> Executor | None:
    if executor is None or isinstance(executor, Executor):
        return executor
    if not isinstance(executor, int) or isinstance(executor, bool) or executor < 1:
        message = f"executor must be a ThreadPoolExecutor or a number of threads from 1; got {executor!r}."
        raise OptionError(message)
    return ThreadPoolExecutor(executor, thread_name_prefix="pipeline")
