"""IOBinding: inputs and outputs bound to names ahead of a run, results written where the caller wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from engine.errors import InputError, TensorError
from engine.kernels.row import Array
from engine.session.values import OrtValue, array_at, array_of, check_device, dtype_of


class Named(Protocol):
    """What a binding asks of a session."""

    @property
    def input_dtypes(self) -> Mapping[str, np.dtype[Any]]:
        """Dtypes of the inputs by name."""

    @property
    def output_names(self) -> Sequence[str]:
        """Names of the outputs."""


class IOBinding:
    """Names of a session bound to arrays; memory behind a bound address must live until the run is over."""

    def __init__(self, session: Named) -> None:
        self._dtypes, self._names = dict(session.input_dtypes), tuple(session.output_names)
        self.feed: dict[str, Array] = {}
        self._places: dict[str, Array | None] = {}
        self._results: list[OrtValue] = []

    # -- inputs
    def bind_cpu_input(self, name: str, arr_on_cpu: Any) -> None:
        """Feed an array. Raises InputError for an unknown name."""
        self.feed[name] = array_of(arr_on_cpu, self._dtype(name))

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        self.bind_cpu_input(name, ortvalue)

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,  # noqa: ARG002 - ONNX Runtime's
        element_type: Any,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """Feed the memory at an address. Raises OptionError for another device than the CPU."""
        check_device(device_type)
        self._dtype(name)
        self.feed[name] = array_at(buffer_ptr, dtype_of(element_type), tuple(shape))

    def _dtype(self, name: str) -> np.dtype[Any]:
        if name not in self._dtypes:
            message = f"the model has no input {name!r}; its inputs: {', '.join(self._dtypes)}."
            raise InputError(message)
        return self._dtypes[name]

    # -- outputs
    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,  # noqa: ARG002 - ONNX Runtime's
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Ask for an output; with an address, a shape and a type it is copied there."""
        check_device(device_type)
        if name not in self._names:
            message = f"the model has no output {name!r}; its outputs: {', '.join(self._names)}."
            raise InputError(message)
        given = buffer_ptr is not None and shape is not None and element_type is not None
        self._places[name] = (
            array_at(int(buffer_ptr or 0), dtype_of(element_type), tuple(shape or ())) if given else None
        )

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Copy an output into a tensor that the caller made."""
        self.bind_output(name)
        self._places[name] = ortvalue.numpy()

    @property
    def wanted(self) -> list[str]:
        """Outputs that were bound, in order."""
        return list(self._places)

    def keep(self, results: Sequence[Array]) -> None:
        """Take the results of a run. Raises TensorError where one does not fit the memory bound for it."""
        kept = []
        for (name, place), result in zip(self._places.items(), results, strict=True):
            if place is not None:
                if place.size != result.size or place.dtype != result.dtype:
                    message = (
                        f"output {name!r} is {result.dtype} {result.shape}; memory was bound for {place.dtype} "
                        f"{place.shape}."
                    )
                    raise TensorError(message)
                place.reshape(-1)[...] = result.reshape(-1)
            kept.append(OrtValue(result if place is None else place))
        self._results = kept

    def get_outputs(self) -> list[OrtValue]:
        """Results of the last run, in the order in which outputs were bound."""
        return self._results

    def copy_outputs_to_cpu(self) -> list[Array]:
        return [value.numpy() for value in self._results]

    def clear_binding_inputs(self) -> None:
        self.feed = {}

    def clear_binding_outputs(self) -> None:
        self._places, self._results = {}, []

    def synchronize_inputs(self) -> None:
        """Nothing to wait for on the CPU."""

    def synchronize_outputs(self) -> None:
        """Nothing to wait for on the CPU."""
