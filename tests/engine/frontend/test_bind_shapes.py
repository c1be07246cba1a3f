"""Binding folds what the shapes decide, keeps weights as they are, and shares what no shape decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper
from reference.onnx_builder import ModelBuilder, run_peer

from engine import frontend, graph
from engine.errors import ModelError, TensorError, UnsupportedOpError

Form = Callable[[ModelBuilder, str], str]


def dim(b: ModelBuilder, x: str, axis: int) -> str:
    return b.op("Unsqueeze", b.op("Gather", b.op("Shape", x), b.number(axis, np.int64), axis=0), b.ints(0))


def exported_view(b: ModelBuilder, x: str) -> str:
    """Shape, Gather, Unsqueeze, Concat: every view() with open axes."""
    return b.op("Reshape", x, b.op("Concat", dim(b, x, 0), dim(b, x, 1), b.ints(2), b.ints(3), axis=0))


def expand_guard(b: ModelBuilder, x: str) -> str:
    """Nine nodes that TorchScript writes around every expand()."""
    wanted = b.op("Reshape", b.op("Concat", b.ints(-1), dim(b, x, 1), b.ints(6), axis=0), b.ints(-1))
    one = helper.make_tensor("one", onnx.TensorProto.INT64, [1], [1])
    ones = b.op("ConstantOfShape", b.op("Shape", wanted), value=one)
    chosen = b.op("Where", b.op("Equal", wanted, b.op("Mul", ones, b.ints(-1))), ones, wanted)
    return b.op("Expand", x, chosen)


def chunks(b: ModelBuilder, x: str) -> str:
    """chunk(2) of an open axis: the sizes by integer division."""
    size = b.op("Gather", b.op("Shape", x), b.ints(2), axis=0)
    half = b.op("Div", b.op("Add", size, b.ints(1)), b.ints(2))
    first = b.op("Slice", x, b.ints(0), half, b.ints(2))
    second = b.op("Slice", x, half, b.op("Mul", half, b.ints(2)), b.ints(2))
    return b.op("Sub", first, second)


def torch_pad(b: ModelBuilder, x: str) -> str:
    zero = helper.make_tensor("zero", onnx.TensorProto.INT64, [1], [0])
    rest = b.op("ConstantOfShape", b.ints(4), value=zero)
    pairs = b.op("Reshape", b.op("Concat", b.ints(1, 2), rest, axis=0), b.ints(-1, 2))
    turned = b.op("Slice", pairs, b.ints(-1), b.ints(-(2**63)), b.ints(0), b.ints(-1))
    flat = b.op("Reshape", b.op("Transpose", turned, perm=[1, 0]), b.ints(-1))
    return b.op("Pad", x, b.op("Cast", flat, to=7), b.number(0.5))


def scale_from_shape(b: ModelBuilder, x: str) -> str:
    """d to the power -0.5, as scaled dot product attention computes it."""
    size = b.op("Slice", b.op("Shape", x), b.ints(-1), b.ints(2**63 - 1))
    root = b.op("Sqrt", b.op("Cast", size, to=1))
    return b.op("Mul", x, b.op("Sqrt", b.op("Div", b.number(1), root)))


def positions(b: ModelBuilder, x: str) -> str:
    length = b.op("Gather", b.op("Shape", x), b.number(1, np.int64), axis=0)
    places = b.op("Range", b.number(0, np.int64), length, b.number(1, np.int64))
    causal = b.op(
        "Trilu", b.op("Expand", b.number(1), b.op("Concat", dim(b, x, 1), dim(b, x, 1), axis=0)), upper=0
    )
    column = b.op("Cast", b.op("Unsqueeze", places, b.ints(1)), to=1)
    return b.op("Add", b.op("MatMul", causal, x), column)


FORMS: list[tuple[Form, set[str]]] = [
    (exported_view, {"Reshape"}),
    (expand_guard, set()),
    (chunks, {"Slice", "Sub"}),
    (torch_pad, {"Pad"}),
    (scale_from_shape, {"Mul"}),
    (positions, {"MatMul", "Add"}),
]


@pytest.mark.parametrize(("form", "left"), FORMS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("shape", [(1, 1, 6), (2, 5, 6), (3, 4, 6)])
def test_shape_arithmetic_is_folded(form: Form, left: set[str], shape: tuple[int, ...]) -> None:
    b = ModelBuilder()
    b.output(form(b, b.input("x", np.float32, ("batch", "length", 6))))
    bound = frontend.bind(frontend.open_model(b.model()), {"x": shape})
    graph.verify(bound)
    assert set(graph.census(bound)) <= left
    feeds = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    np.testing.assert_allclose(
        graph.evaluate(bound, feeds)[0], run_peer(b.model(), feeds)[0], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("length", [1, 4])
def test_branch_on_a_size_is_taken(length: int) -> None:
    """squeeze() of an open axis."""
    x = helper.make_tensor_value_info("x", 1, ("n", 3))
    squeeze = helper.make_graph(
        [helper.make_node("Constant", [], ["axis"], value_ints=[0]), helper.make_node("Squeeze", ["x", "axis"], ["a"])],
        "then", [], [helper.make_tensor_value_info("a", 1, None)],
    )  # fmt: skip
    keep = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b"])],
        "else",
        [],
        [helper.make_tensor_value_info("b", 1, None)],
    )
    for body in (squeeze, keep):
        body.output[0].type.tensor_type.shape.SetInParent()
    b = ModelBuilder()
    b.inputs.append(x)
    size = b.op("Gather", b.op("Shape", "x"), b.number(0, np.int64))
    b.output(b.op("If", b.op("Equal", size, b.number(1, np.int64)), then_branch=squeeze, else_branch=keep))
    bound = frontend.bind(frontend.open_model(b.model()), {"x": (length, 3)})
    assert bound.outputs[0].shape == ((3,) if length == 1 else (4, 3))


def loop_model(count: str | None) -> onnx.ModelProto:
    """y = x + 0 + 1 + 2, and the running sums."""
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["turn"], ["number"], to=1),
            helper.make_node("Add", ["sum_in", "number"], ["sum_out"]),
            helper.make_node("Identity", ["sum_out"], ["seen"]),
            helper.make_node("Identity", ["go_on"], ["go_on_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", 7, ()),
            helper.make_tensor_value_info("go_on", 9, ()),
            helper.make_tensor_value_info("sum_in", 1, (2,)),
        ],
        [
            helper.make_tensor_value_info("go_on_out", 9, ()),
            helper.make_tensor_value_info("sum_out", 1, (2,)),
            helper.make_tensor_value_info("seen", 1, (2,)),
        ],
    )
    b = ModelBuilder()
    x = b.input("x", np.float32, (2,))
    trips = b.number(3, np.int64) if count is None else b.input(count, np.int64, ())
    b.output(*b.ops("Loop", trips, "", x, count=2, body=body))
    return b.model()


def test_loop_of_known_length_is_unrolled() -> None:
    model, feeds = loop_model(None), {"x": np.array([1, 2], np.float32)}
    bound = frontend.bind(frontend.open_model(model), {})
    for ours, theirs in zip(graph.evaluate(bound, feeds), run_peer(model, feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_loop_whose_length_depends_on_data_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="Loop"):
        frontend.bind(frontend.open_model(loop_model("n")), {})


def test_operator_of_the_reference_runs_with_its_own_shape() -> None:
    b = ModelBuilder()
    b.output(b.op("NonZero", b.input("x", np.float32, (2, 3))))
    bound = frontend.bind(frontend.open_model(b.model()), {})
    assert bound.outputs[0].type.shape is None
    assert bound.outputs[0].node.attrs["onnx_op"] == "NonZero"
    x = np.array([[1, 0, 2], [0, 0, 3]], np.float32)
    np.testing.assert_array_equal(graph.evaluate(bound, {"x": x})[0], np.array(x.nonzero()))


def test_operators_behind_an_unknown_shape_still_run() -> None:
    b = ModelBuilder()
    found = b.op("NonZero", b.input("x", np.float32, (2, 3)))
    b.output(b.op("ReduceSum", b.op("Add", b.op("Transpose", found), b.number(1, np.int64)), b.ints(0)))
    bound = frontend.bind(frontend.open_model(b.model()), {})
    feeds = {"x": np.array([[1, 0, 2], [0, 0, 3]], np.float32)}
    np.testing.assert_array_equal(graph.evaluate(bound, feeds)[0], run_peer(b.model(), feeds)[0])


def test_dropout_and_casts_that_change_nothing_vanish() -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, (2, 3))
    kept = b.ops("Dropout", b.op("Cast", x, to=1), b.number(0.5), count=1)[0]
    b.output(b.op("Neg", b.op("Identity", kept)))
    bound = frontend.bind(frontend.open_model(b.model()), {})
    assert graph.census(bound) == {"Neg": 1}


def test_outputs_that_are_left_out_keep_their_places() -> None:
    b = ModelBuilder(opset=17)
    x = b.input("x", np.float32, (2, 3))
    rows, _, inverse = b.ops("LayerNormalization", x, b.weight(np.ones(3, np.float32)), count=3)
    b.nodes[-1].output[1] = ""
    b.output(inverse, rows)
    bound = frontend.bind(frontend.open_model(b.model()), {})
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)}
    for ours, theirs in zip(graph.evaluate(bound, feeds), run_peer(b.model(), feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def quantised_weights() -> ModelBuilder:
    b = ModelBuilder()
    pair = b.number(0.5), b.number(0, np.int8)
    x = b.input("x", np.float32, ("n", 64))
    wq = b.op(
        "QuantizeLinear",
        b.weight(np.random.default_rng(1).standard_normal((64, 70)).astype(np.float32)),
        *pair,
    )
    ids = b.op(
        "Range",
        b.number(0, np.int64),
        b.op("Gather", b.op("Shape", x), b.number(0, np.int64)),
        b.number(1, np.int64),
    )
    rows = b.op("Gather", b.weight(np.ones((70, 70), np.float32)), ids)
    b.output(b.op("Add", b.op("MatMul", x, b.op("DequantizeLinear", wq, *pair)), rows))
    return b


def test_dequantised_weights_and_tables_stay() -> None:
    bound = frontend.bind(frontend.open_model(quantised_weights().model()), {"x": (3, 64)})
    assert graph.census(bound) == {"MatMul": 1, "DequantizeLinear": 1, "Gather": 1, "Add": 1}


def test_what_no_shape_decides_is_the_same_object_for_all_shapes() -> None:
    model = frontend.open_model(quantised_weights().model())

    def weights(rows: int) -> graph.Node:
        bound = frontend.bind(model, {"x": (rows, 64)})
        return next(node for node in bound.nodes() if node.op == "DequantizeLinear")

    assert weights(3) is weights(8)


def test_small_tables_are_looked_up_while_binding() -> None:
    b = ModelBuilder()
    rows = b.op("Gather", b.weight(np.ones((6, 4), np.float32)), b.ints(1, 2))
    b.output(b.op("Add", b.input("x", np.float32, (2, 4)), rows))
    assert graph.census(frontend.bind(frontend.open_model(b.model()), {})) == {"Add": 1}


def plain() -> frontend.Model:
    b = ModelBuilder()
    b.output(b.op("Reshape", b.input("x", np.float32, ("n", 3)), b.ints(6)))
    return frontend.open_model(b.model())


@pytest.mark.parametrize(
    "shapes", [{}, {"x": (2,)}, {"x": (2, 4)}, {"x": (-1, 3)}, {"x": (2, 3), "y": (1,)}], ids=str
)
def test_shapes_that_do_not_fit_the_inputs_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(TensorError):
        frontend.bind(plain(), shapes)


def test_shape_that_the_operators_rule_out_is_refused_with_the_node() -> None:
    with pytest.raises(ModelError, match="Reshape"):
        frontend.bind(plain(), {"x": (3, 3)})


def test_lookup_outside_a_table_is_an_error() -> None:
    b = ModelBuilder()
    b.output(b.op("Gather", b.weight(np.ones((6, 4), np.float32)), b.input("ids", np.int64, (2,))))
    bound = frontend.bind(frontend.open_model(b.model()), {})
    with pytest.raises(IndexError):
        graph.evaluate(bound, {"ids": np.array([0, 6])})


def test_empty_batch_gives_empty_results() -> None:
    b = ModelBuilder()
    x = b.input("x", np.float32, ("n", 3))
    b.output(b.op("Softmax", b.op("MatMul", x, b.weight(np.ones((3, 4), np.float32))), axis=-1))
    bound = frontend.bind(frontend.open_model(b.model()), {"x": (0, 3)})
    assert graph.evaluate(bound, {"x": np.zeros((0, 3), np.float32)})[0].shape == (0, 4)
