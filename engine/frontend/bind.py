"""Binding: the graph of a model under concrete input shapes.

Operations are taken in order. Whatever the shapes decide is folded on the way, so that shape arithmetic,
branches on sizes and positions by Range never reach a pass. What depends on no input shape at all is kept in
the model's memo: two bindings share those nodes and their arrays.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from engine.errors import ModelError, SparselaneError, TensorError, first_line
from engine.frontend.control import take_branch, unroll
from engine.frontend.foreign import RANDOM, foreign
from engine.frontend.form import Call, Form, NotStaticError, Values
from engine.frontend.forms import FORMS
from engine.frontend.mapped import check_unchanged
from engine.frontend.model import DAMAGE, Body, Model, ModelInput, Operation
from engine.graph import OPS, Graph, Value, graph_input


@dataclass(frozen=True)
class _Scope:
    """Names seen so far, and the values among them that depend on no input shape."""

    model: Model
    values: MutableMapping[str, Value]
    fixed: set[Value]


def bind(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    """The graph of `model` for inputs of the given shapes; every value typed, shape computations folded.

    shapes  by input name; inputs whose dimensions the file fixes may be left out

    Raises TensorError for an unknown or missing input or a shape that the file rules out, ModelError where
    the operators do not fit together under these shapes or the file was written to since it was opened,
    UnsupportedOpError for an operator nobody can run.
    """
    check_unchanged(model.files)
    unknown = sorted(set(shapes) - set(model.input_names))
    if unknown:
        message = f"{model.name} has no input {unknown[0]!r}; its inputs are {', '.join(model.input_names)}."
        raise TensorError(message)
    inputs = tuple(
        graph_input(entry.name, entry.dtype, _bound_shape(entry, shapes)) for entry in model.inputs
    )
    fed = dict(zip(model.input_names, inputs, strict=True))
    scope = _Scope(model, {**model.body.constants, **fed}, set(model.body.constants.values()))
    _bind_operations(model.body, scope)
    outputs = tuple(_find(name, scope) for name in model.output_names)
    return Graph(inputs, outputs, model.output_names)


def _bound_shape(entry: ModelInput, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    shape = shapes.get(entry.name)
    if shape is None:
        fixed = tuple(size for size in entry.dims if isinstance(size, int))
        if len(fixed) == len(entry.dims):
            return fixed
        message = f"input {entry.name!r} has open dimensions {list(entry.dims)}; give its shape."
        raise TensorError(message)
    fits = len(shape) == len(entry.dims) and all(
        size >= 0 and (not isinstance(declared, int) or size == declared)
        for size, declared in zip(shape, entry.dims, strict=True)
    )
    if not fits:
        message = f"input {entry.name!r} has shape {list(shape)}; the model takes {list(entry.dims)}."
        raise TensorError(message)
    return tuple(int(size) for size in shape)


def _find(name: str, scope: _Scope) -> Value:
    if name not in scope.values:
        message = f"{scope.model.name}: nothing computes {name!r}; export the model again."
        raise ModelError(message)
    return scope.values[name]


def _bind_operations(body: Body, scope: _Scope) -> None:
    for operation in body.operations:
        inputs = tuple(_find(name, scope) if name else None for name in operation.inputs)
        fixed = all(value is None or value in scope.fixed for value in inputs)
        # A body may read names from around it, so its inputs do not tell what it depends on.
        fixed = fixed and not operation.bodies and operation.op not in RANDOM
        known = scope.model.memo.get(operation) if fixed else None
        results = known if known is not None else _translate(operation, inputs, scope)
        if fixed:
            results = scope.model.memo.setdefault(operation, results)
            scope.fixed.update(results)
        named = [name for name in operation.outputs if name]
        scope.values.update(zip(named, results, strict=False))


def _translate(operation: Operation, inputs: tuple[Value | None, ...], scope: _Scope) -> Values:
    def bind_body(body: Body, fed: Mapping[str, Value]) -> Values:
        inner = _Scope(scope.model, ChainMap({**body.constants, **fed}, scope.values), scope.fixed)
        scope.fixed.update(body.constants.values())
        _bind_operations(body, inner)
        return tuple(_find(name, inner) for name in body.outputs)

    try:
        if operation.op == "If":
            return take_branch(operation, inputs[0], scope.model, bind_body)
        if operation.op == "Loop":
            return unroll(operation, inputs, scope.model, bind_body)
        return _compute(Call(operation, inputs), scope.model)
    except SparselaneError:
        raise
    except DAMAGE as error:
        where = f'{scope.model.name}: node "{operation.name}" ({operation.op})'
        message = f"{where} does not fit its inputs: {first_line(error)}."
        raise ModelError(message) from error


def _compute(call: Call, model: Model) -> Values:
    operation = call.operation
    form = FORMS.get((operation.domain, operation.op))
    if form is not None:
        results = _translated(form, call)
        if results is not None:
            return results
    elif operation.domain == "" and operation.op in OPS:
        return call.emit_all(operation.op, *call.inputs, **call.attrs)
    return foreign(operation, call.inputs, model)


def _translated(form: Form, call: Call) -> Values | None:
    """The canonical form; None where it needs numbers or shapes that depend on data."""
    try:
        return form.translate(call)
    except NotStaticError:
        return None
    except ValueError:
        if all(value is None or value.type.shape is not None for value in call.inputs):
            raise
        return None
