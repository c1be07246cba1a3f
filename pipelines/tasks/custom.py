"""Task custom: a model between two functions of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, RootModel

from engine import OptionError
from pipelines.pipeline import Pipeline
from pipelines.registry import Task, load_module

Array = NDArray[Any]


class Anything(RootModel[Any]):
    """A request or an answer of any form."""


class CustomPipeline(Pipeline):
    """A pipeline of two functions, or of a file that has them.

        double = Pipeline.create("custom", model_path="model.onnx", process_inputs_fn=to_arrays)
        double([1.0, 2.0])

    Without schemas, what the pipeline is called with goes to `process_inputs_fn` as it is; without functions, arrays
    go to the engine and its outputs come back.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        input_schema: type[BaseModel] | None = None,
        output_schema: type[BaseModel] | None = None,
        process_inputs_fn: Callable[[Any], Any] | None = None,
        process_outputs_fn: Callable[..., Any] | None = None,
        processing_file: str | Path | None = None,
        **arguments: Any,
    ) -> None:
        """Create the pipeline; the other arguments are those of `Pipeline`.

        input_schema, output_schema   pydantic models that requests and answers are checked against
        process_inputs_fn             request to a list of arrays, or to a tuple of it and keywords for the other one
        process_outputs_fn            the engine's list of arrays to the answer
        processing_file               a Python file with `preprocess`, `postprocess`, or both

        Raises OptionError for a schema that is no pydantic model, a function in both places, and a file with neither.
        """
        for name, schema in (("input_schema", input_schema), ("output_schema", output_schema)):
            if schema is not None and not (isinstance(schema, type) and issubclass(schema, BaseModel)):
                message = f"{name} must be a pydantic model (a class); got {schema!r}."
                raise OptionError(message)
        self._input_schema, self._output_schema = input_schema, output_schema
        self._before, self._after = process_inputs_fn, process_outputs_fn
        if processing_file is not None:
            self._read_functions(processing_file)
        super().__init__(model_path, **arguments)

    @property
    def input_schema(self) -> type[BaseModel]:
        return self._input_schema or Anything

    @property
    def output_schema(self) -> type[BaseModel]:
        return self._output_schema or Anything

    def parse_inputs(self, *args: Any, **keywords: Any) -> Any:
        if self._input_schema is not None:
            return super().parse_inputs(*args, **keywords)
        if args and keywords:
            message = "Give either one input object or keywords, not both."
            raise ValueError(message)
        given = keywords if not args else args[0] if len(args) == 1 else list(args)
        # A server parses bodies by the schema before it calls.
        return given.root if isinstance(given, Anything) else given

    def process_inputs(self, inputs: Any) -> list[Array] | tuple[list[Array], dict[str, Any]]:
        if self._before is not None:
            found: list[Array] | tuple[list[Array], dict[str, Any]] = self._before(inputs)
            return found
        if isinstance(inputs, np.ndarray):
            return [inputs]
        if isinstance(inputs, (list, tuple)) and all(isinstance(entry, np.ndarray) for entry in inputs):
            return list(inputs)
        message = "Without process_inputs_fn, a custom pipeline takes the model's input arrays."
        raise ValueError(message)

    def process_engine_outputs(self, engine_outputs: list[Array], **context: Any) -> Any:
        answer = engine_outputs if self._after is None else self._after(engine_outputs, **context)
        if self._output_schema is None or isinstance(answer, self._output_schema):
            return answer
        return self._output_schema.model_validate(answer)

    def _read_functions(self, file: str | Path) -> None:
        module = load_module(str(file))
        before, after = getattr(module, "preprocess", None), getattr(module, "postprocess", None)
        if before is None and after is None:
            message = f"{file} has neither preprocess nor postprocess."
            raise OptionError(message)
        if (before and self._before) or (after and self._after):
            message = f"{file} and the arguments both give a function for the same step; give one."
            raise OptionError(message)
        self._before, self._after = self._before or before, self._after or after


TASK = Task(name="custom", pipeline=CustomPipeline)
