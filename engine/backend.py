"""The standard's own interface to a runtime: `onnx.backend.base.Backend` over an Engine.

import engine.backend as backend
outputs = backend.run_model(model, inputs)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper
from onnx.backend.base import Backend, BackendRep

from engine.api.engine import Engine
from engine.errors import InputError, OptionError


class SparselaneRep(BackendRep):
    """A model that is ready to run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """Outputs of a list of arrays, of one array, or of arrays by name; also reachable by their names.

        Raises InputError for missing or unknown names, and as Engine.run.
        """
        names = self._engine.input_names
        if isinstance(inputs, dict):
            if set(inputs) != set(names):
                message = f"the model takes {', '.join(names)}; got {', '.join(map(str, inputs))}."
                raise InputError(message)
            inputs = [inputs[name] for name in names]
        arrays = [inputs] if isinstance(inputs, np.ndarray) else inputs
        outputs = self._engine.run([np.asarray(array, order="C") for array in arrays])
        return tuple(outputs)


class SparselaneBackend(Backend):
    """Models and single nodes of the standard, on the CPU."""

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **options: Any) -> SparselaneRep:
        """Compile a model; options are those of an Engine. Raises OptionError for another device, and as Engine."""
        cls._check(device)
        return SparselaneRep(Engine(model, batch_size=options.pop("batch_size", None), **options))

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **options: Any
    ) -> tuple[Any, ...]:
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **options: Any,
    ) -> tuple[Any, ...]:
        """Run one node on these inputs. `outputs_info`: dtype and shape of each output; float32 where not given.

        `opset_version` is the newest of the installed onnx unless it is given.
        """
        cls._check(device)
        arrays = [np.asarray(array) for array in ([inputs] if isinstance(inputs, np.ndarray) else inputs)]
        names = [name for name in node.input if name]
        plain: list[tuple[Any, Any]] = [(np.float32, None)] * len(node.output)
        infos = outputs_info or plain
        graph = helper.make_graph(
            [node],
            "node",
            [_declared(name, a.dtype, a.shape) for name, a in zip(names, arrays, strict=True)],
            [
                _declared(name, np.dtype(i[0]), i[1])
                for name, i in zip(node.output, infos, strict=True)
                if name
            ],
        )
        version = options.pop("opset_version", onnx.defs.onnx_opset_version())
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.run_model(model, arrays, device, **options)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.partition(":")[0].upper() == "CPU"

    @classmethod
    def _check(cls, device: str) -> None:
        if not cls.supports_device(device):
            message = f"device {device!r} is not served; this engine runs on the CPU."
            raise OptionError(message)


def _declared(name: str, dtype: Any, shape: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


prepare = SparselaneBackend.prepare
run_model = SparselaneBackend.run_model
run_node = SparselaneBackend.run_node
supports_device = SparselaneBackend.supports_device
