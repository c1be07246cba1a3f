"""InferenceSession: an Engine asked in ONNX Runtime's way."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.api.arguments import log
from engine.api.engine import Engine
from engine.api.signature import Sizes, Value, signature
from engine.errors import InputError, InputTypeError, ModelError
from engine.kernels.row import Array
from engine.session.binding import IOBinding
from engine.session.options import RunOptions, SessionOptions
from engine.session.values import OrtValue, array_of, type_string

PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class NodeArg:
    """An input or output: `type` as `tensor(int64)`; a size is a number, a symbol's name or None."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model's file says of itself, by ONNX Runtime's names."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: dict[str, str]


def get_available_providers() -> list[str]:
    """There is one."""
    return [PROVIDER]


def get_device() -> str:
    """There is one."""
    return "CPU"


class InferenceSession:
    """A model ready to run, by names.

    path_or_bytes       what an Engine takes: a path, the bytes of a file, a stub
    sess_options        SessionOptions; see there what is honoured
    providers           accepted; others than the CPU's are left out with a warning, as ONNX Runtime does
    provider_options    accepted and ignored, as are all further keywords

    Open dimensions are compiled for as they come (`batch_size=None` of an Engine). A session may be run from several
    threads; requests take turns, each on all cores.

    Raises ModelError (ModelNotFoundError), UnsupportedOpError, OptionError.
    """

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str] | Any,
        sess_options: SessionOptions | None = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,  # noqa: ARG002 - ONNX Runtime's
        **_ignored: Any,
    ) -> None:
        self._options = sess_options if sess_options is not None else SessionOptions()
        # Options of ONNX Runtime's own class have the same attributes.
        checked = getattr(self._options, "check", None)
        if checked is not None:
            checked()
        self._warn(providers or ())
        self._model = path_or_bytes
        self._engine = self._open()
        # Read by clients that look for files beside the model.
        self._model_path = self._engine.model_path
        self._signature = signature(self._engine)
        self._dtypes = {value.name: value.dtype for value in self._signature.inputs}
        self._output_names = [value.name for value in self._signature.outputs]

    def _open(self) -> Engine:
        cores = self._options.intra_op_num_threads or None
        engine = Engine(self._model, batch_size=None, num_cores=cores)
        sizes = getattr(self._options, "free_dimensions", {})
        if not sizes:
            return engine
        shapes = [_fixed(value.dims, sizes) for value in signature(engine).inputs]
        if any(size is None for shape in shapes for size in shape):
            log.info("free dimensions %s leave others open: nothing is compiled ahead for them", sizes)
            return engine
        return Engine(self._model, batch_size=None, num_cores=cores, input_shapes=shapes)

    def _warn(self, providers: Sequence[Any]) -> None:
        names = [entry if isinstance(entry, str) else entry[0] for entry in providers]
        others = [name for name in names if name != PROVIDER]
        if others:
            log.warning("providers %s are not served; %s is used", ", ".join(others), PROVIDER)

    # -- running
    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | Any = None,
    ) -> list[Array]:
        """Outputs of these names as new arrays; None or [] asks for all, in the model's order.

        input_feed   arrays (or OrtValues, lists, numbers) by name; one for every input

        Raises InputError for a missing or unknown name, TensorError for a wrong dtype or shape, RequestCancelledError
        when `run_options.terminate` was set.
        """
        indices = self._indices(output_names)
        cancelled = getattr(run_options, "cancelled", None)
        outputs = self._engine.run(self._arrays(input_feed), val_inp=False, cancelled=cancelled)
        return outputs if indices is None else [outputs[index] for index in indices]

    def _arrays(self, feed: Mapping[str, Any]) -> list[Array]:
        if not isinstance(feed, Mapping):
            message = f"input_feed must be a dictionary of arrays by name; got {type(feed).__name__}."
            raise InputTypeError(message)
        if feed.keys() != self._dtypes.keys():
            missing = [name for name in self._dtypes if name not in feed]
            unknown = [name for name in feed if name not in self._dtypes]
            parts = [
                f"{word}: {', '.join(names)}"
                for word, names in (("missing", missing), ("unknown", unknown))
                if names
            ]
            message = (
                f"the inputs do not fit the model ({'; '.join(parts)}); it takes {', '.join(self._dtypes)}."
            )
            raise InputError(message)
        return [array_of(feed[name], dtype) for name, dtype in self._dtypes.items()]

    def _indices(self, names: Sequence[str] | None) -> list[int] | None:
        if not names:
            return None
        unknown = [name for name in names if name not in self._output_names]
        if unknown:
            message = (
                f"the model has no output {', '.join(unknown)}; it gives {', '.join(self._output_names)}."
            )
            raise InputError(message)
        return [self._output_names.index(name) for name in names]

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, Any],
        run_options: Any = None,
    ) -> list[OrtValue]:
        """As `run`, with results in OrtValues."""
        return [OrtValue(array) for array in self.run(output_names, input_dict_ort_values, run_options)]

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[list[Array], Any, str], object],
        user_data: Any,
        run_options: Any = None,
    ) -> None:
        """Run in a thread of its own, then call `callback(results, user_data, error)`; error is "" when all went well."""
        import threading

        def call() -> None:
            try:
                results, error = self.run(output_names, input_feed, run_options), ""
            # Whoever waits hears of it, whatever it is.
            except Exception as failure:
                results, error = [], str(failure) or type(failure).__name__
            callback(results, user_data, error)

        threading.Thread(target=call, name="sparselane-run-async").start()

    def io_binding(self) -> IOBinding:
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: Any = None) -> None:
        """Run with bound inputs; results are in the binding."""
        results = self.run(iobinding.wanted, iobinding.feed, run_options) if iobinding.wanted else []
        iobinding.keep(results)

    # -- what there is to know
    def get_inputs(self) -> list[NodeArg]:
        return [_argument(value) for value in self._signature.inputs]

    def get_outputs(self) -> list[NodeArg]:
        return [_argument(value) for value in self._signature.outputs]

    def get_overridable_initializers(self) -> list[NodeArg]:
        """None: initialisers are constants here."""
        return []

    def get_modelmeta(self) -> ModelMetadata:
        facts = self._signature.facts
        return ModelMetadata(
            facts.producer_name,
            facts.graph_name,
            facts.domain,
            facts.description,
            facts.graph_description,
            facts.version,
            dict(facts.custom),
        )

    def get_providers(self) -> list[str]:
        return get_available_providers()

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {PROVIDER: {}}

    def set_providers(self, providers: Sequence[Any] | None = None, provider_options: Any = None) -> None:  # noqa: ARG002
        """Nothing to choose from: a warning for others than the CPU's."""
        self._warn(providers or ())

    def get_session_options(self) -> SessionOptions:
        return self._options

    def disable_fallback(self) -> None:
        """Nothing falls back to another provider."""

    def enable_fallback(self) -> None:
        """Nothing falls back to another provider."""

    def end_profiling(self) -> str:
        """Raises ModelError: profiling was never on."""
        message = "no profile was made; run `python -m engine.bench MODEL --layers`."
        raise ModelError(message)

    @property
    def input_dtypes(self) -> dict[str, Any]:
        """Dtypes of the inputs by name."""
        return dict(self._dtypes)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in the model's order."""
        return list(self._output_names)

    @property
    def engine(self) -> Engine:
        """The engine behind the session."""
        return self._engine


def _argument(value: Value) -> NodeArg:
    return NodeArg(value.name, type_string(value.dtype), list(value.dims))


def _fixed(dims: Sizes, sizes: Mapping[str, int]) -> list[int | None]:
    return [sizes.get(size) if isinstance(size, str) else size for size in dims]
