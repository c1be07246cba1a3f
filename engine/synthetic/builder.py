"""An ONNX graph under construction, with the names and habits of the TorchScript exporter.

Tensors are called `<scope>/<Operator>[_n]_output_0`; scalars and shapes are `Constant` nodes. All random
numbers are drawn in the order of the layers, so every form of a model has the same weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from engine.synthetic.spec import Spec

Array = NDArray[Any]
F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one graph of a model is written.

    form         the spec's, or "statistics": an f32 graph that also computes what batch norms would have seen
    ranges       (least, largest) of every activation that gets a scale, in order of first use
    statistics   (mean, variance) of every convolution's output, in order
    """

    spec: Spec
    form: Literal["f32", "qdq", "int", "statistics"]
    ranges: Sequence[tuple[float, float]] = ()
    statistics: Sequence[tuple[F32, F32]] = ()


class GraphBuilder:
    """Nodes and initialisers of one graph, the counters behind their names, and the random numbers.

    scope       prefix of the names of new nodes, "/encoder/layer.0/output"
    measured    names of tensors that hold a statistic
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.scope = ""
        self.measured: list[str] = []
        self._nodes: list[NodeProto] = []
        self._initialisers: list[TensorProto] = []
        self._names: Counter[str] = Counter()
        self._draws = 0

    @property
    def spec(self) -> Spec:
        return self.recipe.spec

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of one output and return the output's name."""
        return self.split_node(operator, *inputs, outputs=1, **attributes)[0]

    def split_node(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Append a node of several outputs and return their names."""
        base = f"{self.scope}/{operator}"
        name = f"{base}_{self._names[base]}" if self._names[base] else base
        self._names[base] += 1
        results = [f"{name}_output_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), results, name=name, **attributes))
        return results

    def output_node(self, operator: str, *inputs: str, output: str) -> None:
        """Append the nameless node that gives a graph output its name."""
        self._nodes.append(helper.make_node(operator, list(inputs), [output]))

    def constant(self, value: Array | np.generic) -> str:
        return self.node("Constant", value=numpy_helper.from_array(np.asarray(value)))

    def scalar(self, value: float) -> str:
        """A float32 constant."""
        return self.constant(np.float32(value))

    def shape(self, *dims: int) -> str:
        """An int64 vector as a constant."""
        return self.constant(np.array(dims, np.int64))

    def initialiser(self, value: Array | np.generic, name: str = "") -> str:
        """Store a tensor under this name, or one made of scope and count."""
        place = self.scope.strip("/").replace("/", ".") or "w"
        name = name or f"onnx::{place}_{len(self._initialisers)}"
        self._initialisers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def random(self, *shape: int, std: float = 1.0, mean: float = 0.0) -> F32:
        """Normal numbers; the n-th call gives the same ones whatever the form."""
        self._draws += 1
        source = np.random.default_rng([self.spec.seed, self._draws])
        return source.standard_normal(shape, dtype=np.float32) * np.float32(std) + np.float32(mean)

    def model(
        self, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto], opset: int
    ) -> ModelProto:
        """The graph as a model of this opset."""
        graph = helper.make_graph(self._nodes, self.spec.name, inputs, outputs, self._initialisers)
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="make_models"
        )
        made.ir_version = 8
        return made
