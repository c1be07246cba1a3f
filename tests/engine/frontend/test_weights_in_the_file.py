"""Large weights stay in the file: read exactly, never read by a running plan, never taken from a changed file."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from reference.onnx_builder import ModelBuilder

from engine import frontend
from engine.errors import ModelError, SparselaneError
from engine.frontend import mapped, wire

LARGE = wire.LEAST_BYTES
DTYPES = [
    np.float32, np.int8, np.uint8, np.float64, np.int64, np.float16, np.bool_,
    ml_dtypes.bfloat16, ml_dtypes.int4, ml_dtypes.uint4,
]  # fmt: skip


def with_weights(arrays: list[np.ndarray]) -> onnx.ModelProto:
    b = ModelBuilder(opset=21)
    for array in arrays:
        name = b.weight(array)
        b.output(b.op("Identity", name))
    b.input("x", np.float32, (1,))
    outputs = [helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, None) for o in b.outputs]
    for entry, array in zip(outputs, b.initialisers, strict=True):
        entry.type.tensor_type.elem_type = array.data_type
    graph = helper.make_graph(b.nodes, "weights", b.inputs, outputs, b.initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_every_weight_is_what_onnx_reads(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arrays = []
    for _ in range(data.draw(st.integers(1, 4))):
        dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
        size = data.draw(st.sampled_from([0, 1, 7, LARGE // dtype.itemsize - 9, 2 * LARGE + 3]))
        arrays.append(rng.integers(0, 2, size).astype(dtype).reshape(1, -1))
    proto = with_weights(arrays)
    path = tmp_path_factory.mktemp("weights") / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    for source in (path, path.read_bytes(), proto):
        found = frontend.open_model(source).body.constants
        for tensor in proto.graph.initializer:
            array, expected = found[tensor.name].array, numpy_helper.to_array(tensor)
            assert array is not None
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array, expected)


def test_what_is_left_parses_to_the_same_model_without_the_weights() -> None:
    arrays: list[np.ndarray] = [np.ones(LARGE, np.float32), np.ones(3, np.float32), np.ones(LARGE, np.int8)]
    proto = with_weights(arrays)
    proto.metadata_props.add(key="k", value="v")
    content = proto.SerializeToString()
    light, spans = wire.lighten(memoryview(content))
    for index, array in ((0, arrays[0]), (2, arrays[2])):
        assert content[spans[index].begin : spans[index].end] == array.tobytes()
        proto.graph.initializer[index].ClearField("raw_data")
    assert sorted(spans) == [0, 2]
    assert onnx.ModelProto.FromString(light) == proto


@given(st.data())
@settings(deadline=None)
def test_damage_in_front_of_large_weights_is_a_typed_error_at_worst(data: st.DataObject) -> None:
    content = bytearray(with_weights([np.ones(LARGE, np.uint8), np.ones(5, np.float32)]).SerializeToString())
    ends = st.integers(0, 200) | st.integers(len(content) - 300, len(content) - 1)
    if data.draw(st.booleans()):
        del content[data.draw(ends) :]
    for _ in range(data.draw(st.integers(1, 3)) if content else 0):
        content[min(data.draw(ends), len(content) - 1)] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SparselaneError):
        frontend.bind(frontend.open_model(bytes(content)), {"x": (1,)})


def written(tmp_path: Path) -> tuple[Path, frontend.Model]:
    path = tmp_path / "model.onnx"
    path.write_bytes(with_weights([np.ones(LARGE, np.float32)]).SerializeToString())
    return path, frontend.open_model(path)


def test_a_file_that_was_written_to_is_refused(tmp_path: Path) -> None:
    path, model = written(tmp_path)
    with path.open("r+b") as file:
        file.write(b"\x08")
        file.truncate(100)
    with pytest.raises(ModelError, match="open it again") as caught:
        frontend.bind(model, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_was_replaced_or_deleted_stays_whole(tmp_path: Path, replaced: bool) -> None:
    path, model = written(tmp_path)
    if replaced:
        (tmp_path / "new").write_bytes(b"another")
        (tmp_path / "new").replace(path)
    else:
        path.unlink()
    frontend.let_go(model.files)
    (value,) = frontend.bind(model, {"x": (1,)}).outputs
    np.testing.assert_array_equal(value.array, np.ones(LARGE, np.float32))


def test_a_file_that_cannot_be_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mapped, "map_file", refuse)
    path, model = written(tmp_path)
    path.write_bytes(b"another")
    (value,) = frontend.bind(model, {"x": (1,)}).outputs
    np.testing.assert_array_equal(value.array, np.ones(LARGE, np.float32))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path, _ = written(tmp_path)
    monkeypatch.setattr(mapped, "map_file", refuse)
    monkeypatch.setattr(np, "fromfile", refuse)
    with pytest.raises(ModelError, match="Permission denied") as caught:
        frontend.open_model(path)
    assert str(path) in str(caught.value)


MODEL = """
import sys
import numpy as np
from pathlib import Path
from engine import Engine

def memory():
    status = Path("/proc/self/status").read_text()
    return 1024 * sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(("RssAnon", "RssFile")))

path, before = Path(sys.argv[1]), memory()
engine = Engine(str(path), 1)
ids = np.arange(8, dtype=np.int64)[None] * 601
first = engine.run([ids])[0]
"""
TRUNCATED = """
with path.open("r+b") as file:
    file.truncate(0)
np.testing.assert_array_equal(engine.run([ids])[0], first)
print("equal")
"""
MEASURED = """
print(memory() - before)
"""


def embedding_model(path: Path, rows: int) -> int:
    """Embeddings, a product over 90 % zeros and a constant addend; returns the bytes of its weights."""
    rng, b = np.random.default_rng(0), ModelBuilder()
    table = rng.normal(size=(rows, 64)).astype(np.float32)
    wide = (rng.normal(size=(64, 4096)) * (rng.random((64, 4096)) < 0.1)).astype(np.float32)
    addend = rng.normal(size=(8, 4096)).astype(np.float32)
    x = b.op("Gather", b.weight(table), b.input("ids", np.int64, (1, 8)), axis=0)
    b.output(b.op("Add", b.op("MatMul", x, b.weight(wide)), b.weight(addend)))
    path.write_bytes(b.model().SerializeToString())
    return table.nbytes + wide.nbytes + addend.nbytes


def run(script: str, path: Path, packed: str = "1") -> str:
    # A plan that reads a truncated file dies of SIGBUS: not in this process.
    command = [sys.executable, "-c", MODEL + script, str(path)]
    environment = {**os.environ, "ENGINE_PACKED_CACHE": packed}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("packed", ["1", "0"])
def test_a_running_plan_never_reads_the_file(tmp_path: Path, packed: str) -> None:
    embedding_model(tmp_path / "model.onnx", 5000)
    assert run(TRUNCATED, tmp_path / "model.onnx", packed) == "equal\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_second_process_holds_no_weights_that_no_request_touches(tmp_path: Path) -> None:
    weights = embedding_model(tmp_path / "model.onnx", 600_000)
    run(MEASURED, tmp_path / "model.onnx")
    assert int(run(MEASURED, tmp_path / "model.onnx")) < weights / 3
