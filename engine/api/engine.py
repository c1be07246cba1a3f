"""Engine: a model compiled for this machine, and its requests."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from engine.api.arguments import (
    UNKNOWN,
    Dims,
    check_arrays,
    check_batch,
    check_count,
    check_kernel,
    check_list,
    check_precision,
    declared_shape,
    given_shapes,
    log,
)
from engine.api.batches import join_engine_outputs, split_engine_inputs
from engine.api.model import model_to_path
from engine.api.scheduler import Scheduler, scheduler_of
from engine.compiler import Compiled, compile_plan
from engine.errors import OptionError, SparselaneError
from engine.frontend import ModelInput, open_model
from engine.jit import active_level, check_level
from engine.kernels.row import Array
from engine.lowering.builder import Machine
from engine.machine.topology import l2_bytes, topology
from engine.options import environment_int
from engine.plan.packed_cache import open_packed_cache
from engine.plan.weights import WeightStore
from engine.random_inputs import random_inputs
from engine.results import BenchmarkResults
from engine.runtime.runner import run_plan
from engine.runtime.teams import team_of

# Sizes to compile for ahead of the first request, where the file leaves a dimension open.
LIKELY_SEQUENCE, LIKELY_PIXELS = 128, 224


class Engine:
    """A model compiled for this machine.

    model         path of an .onnx file, folder with model.onnx, `synthetic:...`, registered stub, bytes or ModelProto
    batch_size    dimension 0 of every input; None leaves the model's own
    num_cores     physical cores to use; None: all that this process may
    num_streams   requests at once; the engine decides. A scheduler's name is taken in this place too
    scheduler     a Scheduler or its name
    input_shapes  whole shapes of the inputs, one list each (or one for all)
    precision     "f32", or "bf16": products of float32 may be computed in bfloat16 where that is faster (AMX)
    kernel        a family of product kernels to use wherever it fits, as ENGINE_KERNEL; None: the fastest as predicted

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
    ) -> None:
        if isinstance(num_streams, str) and scheduler is None:
            num_streams, scheduler = None, num_streams
        if cached_outputs is not None and any(cached_outputs):
            message = "cached_outputs is for text generation, which this engine does not do."
            raise OptionError(message)
        check_level()
        self._scheduler = scheduler_of(scheduler)
        check_count("num_streams", num_streams)
        self._num_cores = check_count("num_cores", num_cores) or topology().available
        if self._num_cores > len(topology().cores):
            log.warning("num_cores=%d exceeds the %d cores here", self._num_cores, len(topology().cores))
        self._model_path = _source_path(model)
        self._model = open_model(self._model_path or model)
        shapes = given_shapes(self._model, input_shapes)
        self._batch_size = _batch(check_batch(batch_size), shapes)
        self._shapes = [
            declared_shape(entry, self._batch_size, None if shapes is None else shapes[i])
            for i, entry in enumerate(self._model.inputs)
        ]
        # Overrides hold for the file's fixed dimensions too: a model of batch 1 may be compiled for 8.
        self._model = replace(self._model, inputs=tuple(map(_with_shape, self._model.inputs, self._shapes)))
        self._team = team_of(min(self._num_cores, len(topology().cores)))
        self._machine = Machine(
            self._team.members,
            l2_bytes(),
            check_precision(precision),
            check_kernel(kernel),
            self._team.parts,
        )
        self._weights = WeightStore(open_packed_cache())
        self._plans: OrderedDict[tuple[Dims, ...], Compiled] = OrderedDict()
        self._plan_limit = environment_int("ENGINE_PLANS", 8, least=1)
        self._one_at_a_time = threading.Lock()
        self._first = self._compile_ahead()

    # -- compiling
    def _compile_ahead(self) -> Compiled | None:
        """The plan of the declared shapes, or of likely ones, so that the first request finds all compiled."""
        if all(size != UNKNOWN for shape in self._shapes for size in shape):
            return self._plan(tuple(self._shapes))
        try:
            return self._plan(self._likely_shapes())
        except SparselaneError as error:
            # The file's own open dimensions may not take these sizes; the first request's will be tried.
            log.info("not compiled ahead for %s: %s", self._likely_shapes(), error)
            return None

    def _likely_shapes(self) -> tuple[Dims, ...]:
        return tuple(
            likely_shape(entry, shape) for entry, shape in zip(self._model.inputs, self._shapes, strict=True)
        )

    def _plan(self, shapes: tuple[Dims, ...]) -> Compiled:
        found = self._plans.get(shapes)
        if found is None:
            named = dict(zip(self._model.input_names, shapes, strict=True))
            found = compile_plan(self._model, named, self._machine, self._weights)
            self._plans[shapes] = found
            while len(self._plans) > self._plan_limit:
                self._plans.popitem(last=False)
        elif len(self._plans) > 1:
            self._plans.move_to_end(shapes)
        return found

    # -- running
    def run(self, inp: list[Array], val_inp: bool = True) -> list[Array]:
        """Outputs in the model's order, as new arrays.

        inp      one C-contiguous array an input, in the model's order
        val_inp  check that it is such a list

        Raises InputTypeError, TensorError (dtype, shape, count, batch), InputError (an id out of range).
        """
        if val_inp:
            check_list(inp)
        check_arrays(self._model, self._shapes, self._batch_size, inp)
        with self._one_at_a_time:
            plan = self._plan(tuple([array.shape for array in inp])).plan
            return run_plan(plan, self._team, inp)

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
        batches, total = split_engine_inputs(inp, self._batch_size or len(inp[0]))
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
        show_progress: bool = False,  # noqa: ARG002 - the predecessor's; nothing is shown
    ) -> BenchmarkResults:
        """Time requests of a loader, going round it until the count is reached; warm-up runs are not recorded.

        `show_progress` is accepted for the predecessor's sake and shows nothing.
        """
        if num_iterations < 1 or num_warmup_iterations < 0:
            message = (
                f"num_iterations must be at least 1 and num_warmup_iterations at least 0; "
                f"got {num_iterations} and {num_warmup_iterations}."
            )
            raise OptionError(message)
        results = BenchmarkResults()
        batches = list(loader)
        for i in range(num_warmup_iterations + num_iterations):
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
        return 1

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
        plan = self._first or (next(iter(self._plans.values())) if self._plans else None)
        return 0.0 if plan is None else round(plan.supported, 4)

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
        return self._first or (next(iter(self._plans.values())) if self._plans else None)

    def _described(self) -> dict[str, Any]:
        return {
            "onnx_file_path": self.model_path,
            "batch_size": self.batch_size,
            "num_cores": self.num_cores,
            "num_streams": self.num_streams,
            "scheduler": "Scheduler.default"
            if self.scheduler is Scheduler.default
            else f"Scheduler.{self.scheduler.name}",
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
) -> Engine:
    """An Engine for the model; see there. The fourth place takes a scheduler's name too."""
    options = (batch_size, num_cores, num_streams, scheduler, input_shapes, cached_outputs)
    return Engine(model, *options, precision=precision, kernel=kernel)


def _with_shape(entry: ModelInput, shape: Dims) -> ModelInput:
    """The input with its dimensions overridden; open ones keep the file's symbols."""
    dims = (kept if size == UNKNOWN else size for size, kept in zip(shape, entry.dims, strict=True))
    return replace(entry, dims=tuple(dims))


def _source_path(model: Any) -> str:
    """The model's file, or "" for a model that is its own source."""
    if isinstance(model, bytes) or hasattr(model, "SerializeToString"):
        return ""
    return model_to_path(model)


def _batch(batch: int | None, shapes: list[Dims] | None) -> int | None:
    """The batch size; whole shapes win over the default of 1."""
    if shapes is None or batch is None or not shapes[0]:
        return batch
    if batch == 1 and shapes[0][0] != 1:
        return shapes[0][0]
    if shapes[0][0] != batch:
        log.warning("input_shapes has batch %d; batch_size=%d wins", shapes[0][0], batch)
    return batch


def likely_shape(entry: ModelInput, shape: Dims) -> Dims:
    """A shape with open dimensions filled in: token sequences, images, else 1."""
    tokens = LIKELY_SEQUENCE if np.issubdtype(entry.dtype, np.integer) else 1
    filler = LIKELY_PIXELS if len(shape) == 4 else tokens
    return tuple(size if size != UNKNOWN else (1 if axis == 0 else filler) for axis, size in enumerate(shape))
