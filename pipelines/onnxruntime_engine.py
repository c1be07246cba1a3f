"""ONNX Runtime behind the same four names as our engine, for comparison on the same pipeline."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from engine import ModelError, OptionError
from pipelines.engines import EngineArguments


class OnnxRuntimeEngine:
    """A session of ONNX Runtime; the scheduler and the number of streams have no meaning for it."""

    def __init__(self, arguments: EngineArguments) -> None:
        """Load a model.

        Raises OptionError when onnxruntime is not installed or the file fixes another shape than was asked
        for, and ModelError when it does not read the file.
        """
        try:
            import onnxruntime  # an extra
        except ImportError as error:
            message = 'engine_type="onnxruntime" needs onnxruntime: pip install "sparselane[compare]".'
            raise OptionError(message) from error

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.num_cores or 0
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                arguments.model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no common class of their own
            message = f"ONNX Runtime cannot load {arguments.model}: {error}"
            raise ModelError(message) from error
        self.batch_size = arguments.batch_size
        self.input_names: list[str] = [entry.name for entry in self._session.get_inputs()]
        self.input_shapes = _shapes(self._session.get_inputs(), arguments)

    def run(self, inp: list[NDArray[Any]]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._session.run(None, dict(zip(self.input_names, inp, strict=True)))
        return outputs


def _shapes(inputs: list[Any], arguments: EngineArguments) -> list[tuple[int, ...]]:
    wanted = arguments.input_shapes or [[] for _ in inputs]
    if len(wanted) == 1:
        wanted = wanted * len(inputs)
    shapes = []
    for entry, asked in zip(inputs, wanted, strict=True):
        own = [size if isinstance(size, int) else -1 for size in entry.shape]
        shape = [*asked, *own[len(asked) :]]
        if arguments.batch_size is not None and shape:
            shape[0] = arguments.batch_size
        if any(size not in (-1, fixed) for fixed, size in zip(own, shape, strict=True) if fixed != -1):
            message = (
                f'The file fixes input "{entry.name}" to {tuple(own)}; ONNX Runtime cannot run it as '
                f"{tuple(shape)}. Ask for that batch_size and sequence_length, or use the default engine."
            )
            raise OptionError(message)
        shapes.append(tuple(shape))
    return shapes
