"""Engine: a model compiled for this machine, and its requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from types import TracebackType
from typing import Any, Self

from engine.api.arguments import (
    UNKNOWN,
    Dims,
    check_arrays,
    check_batch,
    check_kernel,
    check_list,
    check_precision,
    declared_shape,
    given_shapes,
    log,
)
from engine.api.batches import join_engine_outputs, split_engine_inputs
from engine.api.opening import batch_of, likely_shape, open_shared, source_path, with_shape, without_weights
from engine.api.placement import Placement, SharedModel, place
from engine.api.plans import Plans, Shapes
from engine.api.scheduler import Scheduler, scheduler_of
from engine.compiler import Compiled, part_bytes
from engine.errors import OptionError, SparselaneError
from engine.jit import active_level, check_level
from engine.kernels.row import Array
from engine.lowering.machine import Machine
from engine.machine.topology import l2_bytes
from engine.options import environment_int
from engine.random_inputs import random_inputs
from engine.results import BenchmarkResults
from engine.runtime.limits import Limits, limits_of
from engine.runtime.line import Ticket
from engine.runtime.runner import run_plan


class Engine:
    """A model compiled for this machine.

    model         path of an .onnx file, folder with model.onnx, `synthetic:...`, registered stub, bytes or ModelProto
    batch_size    dimension 0 of every input; None leaves the model's own
    num_cores     physical cores to use; None: all that this process may
    num_streams   requests at once; None: the scheduler decides. A scheduler's name is taken in this place too
    scheduler     a Scheduler or its name
    input_shapes  whole shapes of the inputs, one list each (or one for all)
    precision     "f32", or "bf16": products, convolutions and attention of float32 may multiply bfloat16 (AMX, AVX512-BF16)
    kernel        a family of product kernels to use wherever it fits, as ENGINE_KERNEL; None: the fastest as predicted

    Positions that the attention mask calls padding cost nothing, where a model lets them out of every attention:
    outputs that have a row a position hold zeros there, all others are the same. `skip_padding=False` computes them.

    Open dimensions are compiled for as they come: one plan a set of shapes, the latest few are kept, and all share
    the packed weights. The model's file is never written. An engine may be called from several threads.

    Raises ModelError (ModelNotFoundError), UnsupportedOpError, OptionError.
    """

    def __init__(  # noqa: PLR0913 - the options of an engine
        self,
        model: Any,
        batch_size: int | None = 1,
        num_cores: int | None = None,
        num_streams: int | str | Scheduler | None = None,
        scheduler: str | Scheduler | None = None,
        input_shapes: Sequence[Any] | None = None,
        cached_outputs: Sequence[bool] | None = None,
        *,
        precision: str = "f32",
        kernel: str | None = None,
        skip_padding: bool = True,
    ) -> None:
        if isinstance(num_streams, str) and not scheduler:
            num_streams, scheduler = None, num_streams
        if cached_outputs is not None and any(cached_outputs):
            message = "cached_outputs is for text generation, which this engine does not do."
            raise OptionError(message)
        check_level()
        placement = self._place(num_cores, num_streams, scheduler_of(scheduler))
        self._scheduler, self._num_cores = placement.scheduler, placement.num_cores
        self._streams = placement.streams
        self._streams.join(self)
        self._model_path = source_path(model)
        # Held for the other engines of a context: they find it while one of them lives.
        self._shared: SharedModel | None = open_shared(self._model_path, model, placement)
        self._model = self._shared.model
        shapes = given_shapes(self._model, input_shapes)
        self._batch_size = batch_of(check_batch(batch_size), shapes)
        self._shapes = [
            declared_shape(entry, self._batch_size, None if shapes is None else shapes[i])
            for i, entry in enumerate(self._model.inputs)
        ]
        # Overrides hold for the file's fixed dimensions too: a model of batch 1 may be compiled for 8.
        self._model = replace(self._model, inputs=tuple(map(with_shape, self._model.inputs, self._shapes)))
        machine = Machine(
            self._streams.members_of_one,
            l2_bytes(),
            check_precision(precision),
            check_kernel(kernel),
            self._streams.parts,
            skip_padding,
            self._streams.members - self._streams.members_of_one,
            part_bytes=part_bytes(),
        )
        limit = environment_int("ENGINE_PLANS", 8, least=1)
        self._plans = Plans(self._model, machine, self._shared.stores, self._streams, limit)
        self._closed = False
        self._first = self._compile_ahead()

    def _place(self, num_cores: object, num_streams: object, scheduler: Scheduler) -> Placement:
        """Cores and streams: those that engines with the same wishes share."""
        return place(num_cores, num_streams, scheduler)

    # -- compiling
    def _compile_ahead(self) -> Compiled | None:
        """The plan of the declared shapes, or of likely ones, so that the first request finds all compiled."""
        if all(size != UNKNOWN for shape in self._shapes for size in shape):
            return self._plans.find(tuple(self._shapes)).compiled[0]
        try:
            return self._plans.find(self._likely_shapes()).compiled[0]
        except SparselaneError as error:
            # The file's own open dimensions may not take these sizes; the first request's will be tried.
            log.info("not compiled ahead for %s: %s", self._likely_shapes(), error)
            return None

    def _likely_shapes(self) -> Shapes:
        return tuple(
            likely_shape(entry, shape) for entry, shape in zip(self._model.inputs, self._shapes, strict=True)
        )

    # -- running
    def run(
        self,
        inp: list[Array],
        val_inp: bool = True,
        *,
        timeout: float | None = None,
        cancelled: threading.Event | None = None,
    ) -> list[Array]:
        """Outputs in the model's order, as new arrays.

        inp        one C-contiguous array an input, in the model's order
        val_inp    check that it is such a list
        timeout    seconds that waiting and running may take together; None: as long as it takes
        cancelled  ends the request when it is set, from any thread: in line at once, at work between two steps

        Raises InputTypeError, TensorError (dtype, shape, count, batch), InputError (an id out of range); DeadlineError,
        RequestCancelledError, WorkerError (a thread died at work on it), ClosedError.
        """
        limits = limits_of(timeout, cancelled)
        if val_inp:
            check_list(inp)
        check_arrays(self._model, self._shapes, self._batch_size, inp)
        return self._run(inp, limits)

    def _run(self, inp: list[Array], limits: Limits | None) -> list[Array]:
        """Outputs of checked inputs, on the stream that is free next."""
        plans, line = self._plans.fitting(inp), self._streams.line
        ticket = Ticket(plans.seconds)
        try:
            stream = line.enter(ticket, limits)
            start = time.perf_counter()
            outputs = run_plan(plans.plans[stream], self._streams.teams[stream], inp, limits)
            plans.took(time.perf_counter() - start)
            line.leave(ticket)
        except BaseException:
            line.leave(ticket)
            raise
        return outputs

    async def run_async(
        self, inp: list[Array], val_inp: bool = True, *, timeout: float | None = None
    ) -> list[Array]:
        """As `run`, from a thread of the event loop's own pool; cancelling the task ends the request between two steps."""
        import asyncio  # 7 MB that only its users pay

        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(self.run, inp, val_inp, timeout=timeout, cancelled=cancelled)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def close(self) -> None:
        """Let go of plans, weights and threads, as far as no other engine shares them; requests under way are finished.

        A closed engine still tells its properties. Without `close` the same happens when the engine is collected.
        """
        if not self._closed:
            self._closed_with = self.output_shapes, self.fraction_of_supported_ops
            self._closed = True
            self._plans.close()
            self._first = self._shared = None
            self._model = without_weights(self._model)
            self._streams.release()
            self._streams.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, inp: list[Array], val_inp: bool = True) -> list[Array]:
        return self.run(inp, val_inp)

    def mapped_run(self, inp: list[Array], val_inp: bool = True) -> dict[str, Array]:
        """Outputs by name, in the model's order; otherwise as `run`."""
        return dict(zip(self.output_names, self.run(inp, val_inp), strict=True))

    def timed_run(self, inp: list[Array], val_inp: bool = False) -> tuple[list[Array], float]:
        """Outputs, and the seconds of wall clock that `run` took."""
        start = time.perf_counter()
        outputs = self.run(inp, val_inp)
        return outputs, time.perf_counter() - start

    def batched_run(self, inp: list[Array]) -> list[Array]:
        """Run any number of items: in pieces of the batch size, the last one padded with its edge row and cut again.

        Raises InputError as `run`, and when the inputs' first dimensions differ.
        """
        batches, total = split_engine_inputs(inp, self._batch_size)
        return join_engine_outputs([self.run(batch) for batch in batches], total)

    def generate_random_inputs(self, seed: int | None = None) -> list[Array]:
        """Inputs of the engine's shapes that a model can work with; open dimensions get likely sizes."""
        dtypes = [entry.dtype for entry in self._model.inputs]
        return random_inputs(self._model.input_names, dtypes, self._likely_shapes(), seed)

    # -- measuring
    def benchmark(
        self,
        inp: list[Array],
        num_iterations: int = 20,
        num_warmup_iterations: int = 5,
        include_inputs: bool = False,
        include_outputs: bool = False,
        show_progress: bool = False,
    ) -> BenchmarkResults:
        """Time the same inputs again and again; see `benchmark_loader`."""
        options = (num_iterations, num_warmup_iterations, include_inputs, include_outputs, show_progress)
        return self.benchmark_loader([inp], *options)

    def benchmark_loader(
        self,
        loader: Iterable[list[Array]],
        num_iterations: int = 20,
        num_warmup_iterations: int = 5,
        include_inputs: bool = False,
        include_outputs: bool = False,
        show_progress: bool = False,  # noqa: ARG002 - see below
    ) -> BenchmarkResults:
        """Time requests of a loader, going round it until the count is reached; warm-up runs are not recorded.

        `show_progress` is accepted for the predecessor's sake and shows nothing.
        """
        total = num_warmup_iterations + num_iterations
        # A loader may go on for ever.
        batches = list(islice(loader, max(total, 0)))
        if num_iterations < 1 or num_warmup_iterations < 0 or not batches:
            message = (
                f"num_iterations must be at least 1, num_warmup_iterations at least 0, and the loader not empty; "
                f"got {num_iterations}, {num_warmup_iterations} and {len(batches)} inputs."
            )
            raise OptionError(message)
        results = BenchmarkResults()
        for i in range(total):
            inputs = batches[i % len(batches)]
            start = time.perf_counter()
            outputs = self.run(inputs)
            end = time.perf_counter()
            if i >= num_warmup_iterations:
                kept = inputs if include_inputs else None, outputs if include_outputs else None
                results.append_batch(start, end, self._batch_size or len(inputs[0]), *kept)
        return results

    # -- properties
    @property
    def model_path(self) -> str:
        """Path of the model's file; empty for a model that was given as bytes."""
        return self._model_path

    @property
    def batch_size(self) -> int | None:
        return self._batch_size

    @property
    def num_cores(self) -> int:
        return self._num_cores

    @property
    def num_streams(self) -> int:
        """Requests that really run at once."""
        return len(self._streams)

    @property
    def scheduler(self) -> Scheduler:
        return self._scheduler

    @property
    def input_names(self) -> list[str]:
        return list(self._model.input_names)

    @property
    def output_names(self) -> list[str]:
        return list(self._model.output_names)

    @property
    def input_shapes(self) -> list[Dims]:
        """Shapes after overrides; -1 where any size is taken."""
        return list(self._shapes)

    @property
    def output_shapes(self) -> list[Dims]:
        """Shapes of the plan compiled ahead; -1 where a size follows an open input dimension."""
        if self._closed:
            return list(self._closed_with[0])
        if self._first is None:
            return [(UNKNOWN,) for _ in self._model.output_names]
        shapes = [value.type.shape or () for value in self._first.graph.outputs]
        if tuple(self._shapes) == self._likely_shapes():
            return shapes
        opened = {
            size
            for wide, open_shape in zip(self._likely_shapes(), self._shapes, strict=True)
            for size, kept in zip(wide, open_shape, strict=True)
            if kept == UNKNOWN
        }
        return [
            tuple(UNKNOWN if size in opened and i > 0 else size for i, size in enumerate(s)) for s in shapes
        ]

    @property
    def fraction_of_supported_ops(self) -> float:
        """Share of the nodes that run in compiled steps, 0.0 to 1.0, four places."""
        if self._closed:
            return self._closed_with[1]
        return 0.0 if self.compiled is None else round(self.compiled.supported, 4)

    @property
    def cpu_avx_type(self) -> str:
        """One of "avx2", "avx512", "neon", "generic": the family of the active level."""
        return active_level().extension

    @property
    def cpu_vnni(self) -> bool:
        """Whether the active level has a dot product of bytes."""
        return active_level().int8_dot

    @property
    def compiled(self) -> Compiled | None:
        """The plan compiled ahead, or the first that was asked for; for `explain`."""
        return self._first or self._plans.first()

    def _described(self) -> dict[str, Any]:
        return {
            "onnx_file_path": self.model_path,
            "batch_size": self.batch_size,
            "num_cores": self.num_cores,
            "num_streams": self.num_streams,
            "scheduler": f"Scheduler.{self.scheduler.name}",
            "fraction_of_supported_ops": self.fraction_of_supported_ops,
            "cpu_avx_type": self.cpu_avx_type,
            "cpu_vnni": self.cpu_vnni,
            "isa_level": active_level().name,
        }

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({self._described()})"

    def __str__(self) -> str:
        lines = "".join(f"\n\t{key}: {value}" for key, value in self._described().items())
        return f"{type(self).__module__}.{type(self).__qualname__}:{lines}"


def compile_model(  # noqa: PLR0913 - the options of an engine
    model: Any,
    batch_size: int | None = 1,
    num_cores: int | None = None,
    num_streams: int | str | Scheduler | None = None,
    scheduler: str | Scheduler | None = None,
    input_shapes: Sequence[Any] | None = None,
    cached_outputs: Sequence[bool] | None = None,
    *,
    precision: str = "f32",
    kernel: str | None = None,
    skip_padding: bool = True,
) -> Engine:
    """An Engine for the model; see there. The fourth place takes a scheduler's name too."""
    options = (batch_size, num_cores, num_streams, scheduler, input_shapes, cached_outputs)
    return Engine(model, *options, precision=precision, kernel=kernel, skip_padding=skip_padding)
