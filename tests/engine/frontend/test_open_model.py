"""What is not a model is refused in one clear line; what is one is read once and never written."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from reference.onnx_builder import ModelBuilder

from engine import frontend, graph
from engine.errors import ModelError, ModelNotFoundError, SparselaneError, UnsupportedOpError


def small() -> ModelBuilder:
    b = ModelBuilder()
    b.output(
        b.op("MatMul", b.input("x", np.float32, ("n", 4)), b.weight(np.ones((4, 3), np.float32), "weight"))
    )
    return b


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_path_bytes_and_parsed_model_are_read_alike(tmp_path: Path) -> None:
    proto = small().model()
    path = saved(tmp_path, proto)
    for source in (path, str(path), path.read_bytes(), proto):
        model = frontend.open_model(source)
        assert model.input_names == ("x",)
        assert model.inputs[0].dims == ("n", 4)
        assert model.inputs[0].dtype == np.float32
        assert model.opset == 14
        assert len(model.output_names) == 1


def test_neither_file_nor_parsed_model_is_changed(tmp_path: Path) -> None:
    proto = small().model()
    path, content = saved(tmp_path, proto), proto.SerializeToString()
    path.chmod(0o444)
    for source in (path, proto):
        frontend.bind(frontend.open_model(source), {"x": (2, 4)})
    assert path.read_bytes() == content == proto.SerializeToString()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"nowhere\.onnx"):
        frontend.open_model(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 64, b"\x08\x07"])
def test_other_bytes_are_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"other\.onnx") as caught:
        frontend.open_model(path)
    assert "\n" not in str(caught.value)


@given(st.data())
def test_truncated_or_damaged_bytes_never_do_worse_than_a_typed_error(data: st.DataObject) -> None:
    content = bytearray(small().model().SerializeToString())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SparselaneError):
        frontend.bind(frontend.open_model(bytes(content)), {"x": (2, 4)})


def test_model_that_the_checker_refuses(tmp_path: Path) -> None:
    b = small()
    b.nodes[0].input[1] = "nothing"
    proto = helper.make_model(
        helper.make_graph(b.nodes, "g", b.inputs, [helper.make_tensor_value_info("MatMul_0_0", 1, None)]),
        opset_imports=[helper.make_opsetid("", 14)],
        ir_version=8,
    )
    # The checker says the node's operator on another line.
    with pytest.raises(ModelError, match=r"'nothing' of node: .*MatMul"):
        frontend.open_model(saved(tmp_path, proto))


@pytest.mark.parametrize(
    ("op", "domain", "opset"),
    [
        ("LongformerAttention", "com.microsoft", 1),
        ("Magic", "my.company", 3),
        ("NoSuchOp", "", 14),
        ("TreeHouse", "ai.onnx.ml", 3),
    ],
)
def test_unknown_operator_is_named_with_its_domain(op: str, domain: str, opset: int) -> None:
    b = ModelBuilder(domains={domain: opset} if domain else {})
    x = b.input("x", np.float32, (2, 3))
    b.output(b.op(op, x, domain=domain))
    with pytest.raises(UnsupportedOpError, match=op) as caught:
        frontend.open_model(b.model())
    message = str(caught.value)
    assert f'"{domain or "ai.onnx"}"' in message
    assert f"opset {opset}" in message
    assert b.nodes[0].name in message


def test_old_opsets_are_refused() -> None:
    b = ModelBuilder(opset=6)
    b.output(b.op("Relu", b.input("x", np.float32, (2,))))
    with pytest.raises(UnsupportedOpError, match="opset 6"):
        frontend.open_model(b.model())


def test_opsets_that_nobody_here_knows_are_refused() -> None:
    newest = onnx.defs.onnx_opset_version()
    proto = small().model()
    proto.opset_import[0].version = newest + 1
    with pytest.raises(UnsupportedOpError, match=f"opset {newest + 1}.* up to {newest}"):
        frontend.open_model(proto)


def test_text_and_inputs_without_rank_are_refused_by_name() -> None:
    proto = small().model()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    with pytest.raises(ModelError, match="input 'x' is text"):
        frontend.open_model(proto)
    proto = small().model()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="input 'x' has no declared rank"):
        frontend.open_model(proto)


def external(model: onnx.ModelProto, location: str, **entries: int) -> onnx.ModelProto:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return model


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"\x00" * 16 + np.arange(12, dtype=np.float32).tobytes())
    path = saved(tmp_path, external(small().model(), "weights/w.bin", offset=16, length=48))
    array = frontend.open_model(path).body.constants["weight"].array
    np.testing.assert_array_equal(array, np.arange(12, dtype=np.float32).reshape(4, 3))


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "..\\w.bin", "C:\\w.bin"]
)
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(b"\x00" * 48)
    with pytest.raises(ModelError, match="below the model's folder"):
        frontend.open_model(saved(folder, external(small().model(), location)))


def test_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(b"\x00" * 48)
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelError, match="below the model's folder"):
        frontend.open_model(saved(folder, external(small().model(), "w.bin")))


@pytest.mark.parametrize("entries", [{"offset": 8}, {"length": 8}, {"offset": -4}, {"offset": 1 << 40}])
def test_weights_that_are_too_short_are_refused(tmp_path: Path, entries: dict[str, int]) -> None:
    (tmp_path / "w.bin").write_bytes(b"\x00" * 48)
    with pytest.raises(ModelError, match="weight"):
        frontend.open_model(saved(tmp_path, external(small().model(), "w.bin", **entries)))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"w\.bin"):
        frontend.open_model(saved(tmp_path, external(small().model(), "w.bin")))


def test_model_given_as_bytes_has_no_files_beside_it() -> None:
    with pytest.raises(ModelError, match="pass its path"):
        frontend.open_model(external(small().model(), "w.bin").SerializeToString())


def test_tensor_outside_the_file_in_an_attribute_is_refused() -> None:
    b = ModelBuilder()
    tensor = numpy_helper.from_array(np.ones(3, np.float32))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    b.output(b.op("Add", b.input("x", np.float32, (3,)), b.op("Constant", value=tensor)))
    with pytest.raises(ModelError, match="outside the file"):
        frontend.open_model(b.model())


def test_weights_of_the_wrong_size_are_refused() -> None:
    proto = small().model()
    proto.graph.initializer[0].raw_data = b"\x00" * 8
    with pytest.raises(ModelError, match="weight"):
        frontend.open_model(proto)


def test_functions_of_the_model_are_inlined() -> None:
    twice = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["c"],
        [helper.make_node("Add", ["a", "a"], ["c"])],
        [helper.make_opsetid("", 14)],
    )
    b = ModelBuilder(domains={"mine": 1})
    b.output(b.op("Twice", b.input("x", np.float32, (3,)), domain="mine"))
    graph_proto = helper.make_graph(
        b.nodes, "g", b.inputs, [helper.make_tensor_value_info(b.outputs[0], 1, (3,))]
    )
    opsets = [helper.make_opsetid("", 14), helper.make_opsetid("mine", 1)]
    proto = helper.make_model(graph_proto, functions=[twice], opset_imports=opsets, ir_version=8)
    bound = frontend.bind(frontend.open_model(proto), {})
    np.testing.assert_array_equal(
        graph.evaluate(bound, {"x": np.ones(3, np.float32)})[0], np.full(3, 2, np.float32)
    )


def test_default_domain_may_be_listed_twice() -> None:
    proto = small().model()
    proto.opset_import.append(helper.make_opsetid("ai.onnx", 14))
    assert frontend.open_model(proto).opset == 14


def test_initialisers_that_are_listed_as_inputs_are_not_fed() -> None:
    proto = small().model()
    proto.graph.input.append(helper.make_tensor_value_info("weight", 1, (4, 3)))
    assert frontend.open_model(proto).input_names == ("x",)


def test_outputs_without_declared_types_are_fine() -> None:
    proto = small().model()
    proto.graph.output[0].ClearField("type")
    assert frontend.open_model(proto).output_names == ("MatMul_0_0",)


def test_dimensions_of_zero_or_less_are_open() -> None:
    b = ModelBuilder()
    b.output(b.op("Neg", b.input("x", np.float32, (0, -1, 3))))
    model = frontend.open_model(b.model())
    assert model.inputs[0].dims == (None, None, 3)
    assert frontend.bind(model, {"x": (2, 5, 3)}).outputs[0].shape == (2, 5, 3)
