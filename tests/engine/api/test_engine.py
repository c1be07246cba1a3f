"""Engine: what it takes, what it refuses, what it answers."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from small_models import lookup, perceptron, saved

from engine import (
    Engine,
    InputError,
    InputTypeError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    Scheduler,
    TensorError,
    UnsupportedOpError,
    compile_model,
)
from engine.machine.topology import topology
from engine.utils import generate_random_inputs, model_to_path

pytestmark = pytest.mark.xdist_group("cores")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return saved(perceptron(), tmp_path)


def reference(path: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return [np.asarray(y) for y in session.run(None, dict(zip(names, inputs, strict=True)))]


@pytest.mark.parametrize("batch", [1, 3, 8, 64])
@pytest.mark.parametrize("declared", ["batch", 1])
def test_batch_size_overrides_the_files_and_leaves_it_alone(
    tmp_path: Path, batch: int, declared: Any
) -> None:
    path = saved(perceptron(declared), tmp_path)
    before = Path(path).read_bytes()
    engine = Engine(path, batch_size=batch)
    inputs = engine.generate_random_inputs(seed=1)
    outputs = engine.run(inputs)
    assert [a.shape for a in inputs] == [(batch, 6)]
    assert outputs[0].shape == (batch, 4)
    assert engine.input_shapes == [(batch, 6)]
    assert engine.output_shapes == [(batch, 4)]
    assert Path(path).read_bytes() == before
    if declared != 1:
        np.testing.assert_allclose(outputs[0], reference(path, inputs)[0], atol=1e-6)


def test_call_run_mapped_and_timed_agree(path: str) -> None:
    engine = Engine(path, 2)
    inputs = engine.generate_random_inputs(0)
    first = engine(inputs)
    assert isinstance(first, list)
    assert np.array_equal(first[0], engine.run(inputs)[0])
    assert list(engine.mapped_run(inputs)) == ["y"]
    timed, seconds = engine.timed_run(inputs)
    assert np.array_equal(timed[0], first[0])
    assert seconds > 0
    first[0][:] = 0
    assert engine.run(inputs)[0].any(), "outputs are new arrays"


def test_batched_run_of_no_items_has_all_outputs(path: str) -> None:
    engine = Engine(path, 2)
    expected = engine.run(engine.generate_random_inputs())
    found = engine.batched_run([array[:0] for array in engine.generate_random_inputs()])
    assert [array.shape for array in found] == [(0, *array.shape[1:]) for array in expected]
    assert [array.dtype for array in found] == [array.dtype for array in expected]
    with pytest.raises(InputError, match="no inputs"):
        engine.batched_run([])


def test_batched_run_takes_any_number_of_items(path: str) -> None:
    engine, whole = Engine(path, 4), Engine(path, 10)
    inputs = whole.generate_random_inputs(0)
    np.testing.assert_allclose(engine.batched_run(inputs)[0], whole.run(inputs)[0], atol=1e-6)


def test_open_dimensions_are_compiled_as_they_come(tmp_path: Path) -> None:
    path = saved(lookup(), tmp_path)
    engine = Engine(path, batch_size=None)
    assert engine.input_shapes == [(-1, -1)]
    for shape in ((1, 128), (2, 7), (1, 1), (5, 16), (2, 7), *((1, n) for n in range(1, 13))):
        ids = np.random.default_rng(0).integers(0, 300, shape)
        np.testing.assert_allclose(engine.run([ids])[0], reference(path, [ids])[0], atol=1e-6)
    assert len(engine._plans) <= 8


def test_positional_fourth_argument_may_be_a_scheduler(path: str) -> None:
    for fourth in ("multi_stream", Scheduler.multi_stream):
        assert compile_model(path, 2, 1, fourth).scheduler is Scheduler.multi_stream
    assert compile_model(path, 2, 1, 2).scheduler is Scheduler.single_stream
    assert compile_model(path, 2, 1, None).num_cores == 1


@pytest.mark.parametrize(
    ("word", "member"),
    [
        (None, Scheduler.single_stream),
        ("", Scheduler.single_stream),
        ("default", Scheduler.single_stream),
        ("SYNC", Scheduler.single_stream),
        ("multi-stream", Scheduler.multi_stream),
        ("async", Scheduler.multi_stream),
        (Scheduler.elastic, Scheduler.elastic),
    ],
)
def test_scheduler_words(path: str, word: Any, member: Scheduler) -> None:
    engine = Engine(path, scheduler=word)
    assert engine.scheduler is member
    assert (
        engine.num_streams == len({(core.node, core.cache) for core in topology().cores})
        or member == "single_stream"
    )
    assert engine.scheduler == member.value


@pytest.mark.parametrize("word", ["last", "e", "elastics", 7, 1.5])
def test_unknown_schedulers_are_refused(path: str, word: Any) -> None:
    with pytest.raises(ValueError, match="scheduler"):
        Engine(path, scheduler=word)


def test_scheduler_equals_its_word() -> None:
    assert Scheduler.multi_stream == "multi_stream"
    assert hash(Scheduler.multi_stream) == hash("multi_stream")
    assert Scheduler["default"] is Scheduler["single_stream"]
    assert len(list(Scheduler)) == 3


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"num_cores": -1}, OptionError, "num_cores must be greater than 0"),
    ({"num_streams": -2}, OptionError, "num_streams must be greater than 0"),
    ({"batch_size": "4"}, TypeError, "batch_size must be an integer.*str"),
    ({"num_cores": 1.5}, TypeError, "num_cores must be an integer.*float"),
    ({"input_shapes": [[1, 6], [1, 6]]}, OptionError, "2 shapes; the model has 1"),
    ({"input_shapes": [[1, 6, 1]]}, OptionError, "'x'"),
    ({"input_shapes": [[1, 0]]}, OptionError, "'x'"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_bad_options_name_themselves(
    path: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Engine(path, **options)


def _array(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


BAD_INPUTS: list[tuple[Any, type[Exception], str]] = [
    ((_array(2, 6),), InputTypeError, "must be a list.*tuple"),
    (_array(2, 6), InputTypeError, "must be a list.*ndarray"),
    ("text", InputTypeError, "must be a list.*str"),
    ([_array(6, 2).T], InputTypeError, "ascontiguousarray"),
    ([_array(3, 6)], TensorError, "batch size 3.*batch_size=2"),
    ([_array(2, 6, dtype=np.float64)], TensorError, "float64; the model takes float32"),
    ([_array(2, 7)], TensorError, r"'x' has shape \(2, 7\); expected \(2, 6\)"),
    ([_array(2, 6, 1)], TensorError, "'x' has shape"),
    ([], TensorError, "1 inputs.*got 0"),
    ([_array(2, 6), _array(2, 6)], TensorError, "1 inputs.*got 2"),
    ([[1.0]], InputTypeError, "numpy array"),
]


@pytest.mark.parametrize(("inputs", "error", "message"), BAD_INPUTS)
def test_bad_inputs_name_themselves(path: str, inputs: Any, error: type[Exception], message: str) -> None:
    engine = Engine(path, 2)
    with pytest.raises(error, match=message) as caught:
        engine.run(inputs)
    assert isinstance(caught.value, (InputError, ValueError))
    if error is TensorError:
        assert isinstance(caught.value, RuntimeError), "old code catches either kind"
        with pytest.raises(TensorError):
            engine.run(inputs, val_inp=False)


def test_bad_models_name_themselves(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="must exist"):
        Engine(str(tmp_path / "none.onnx"))
    with pytest.raises(ModelNotFoundError, match=r"no model\.onnx"):
        Engine(tmp_path)
    text = tmp_path / "text.onnx"
    text.write_text("this is no model")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        Engine(str(text))
    whole = Path(saved(perceptron(), tmp_path)).read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        Engine(str(cut))
    with pytest.raises(UnsupportedOpError, match=r"Nonsense.*somewhere\.else"):
        Engine(saved(perceptron(op="Nonsense", domain="somewhere.else"), tmp_path, "odd.onnx"))
    for nothing in (None, "", 5):
        with pytest.raises(ValueError, match="model"):
            Engine(nothing)


def test_stubs_are_found_where_they_are_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.api.stubs import register

    monkeypatch.setenv("ENGINE_STUBS", str(tmp_path / "stubs.yaml"))
    monkeypatch.setenv("SPARSEZOO_MODELS_PATH", str(tmp_path / "old"))
    with pytest.raises(ModelNotFoundError, match=r"shut down in June 2025.*engine\.models add zoo:bert"):
        model_to_path("zoo:bert")
    path = saved(perceptron(), tmp_path)
    register("zoo:bert", tmp_path)
    assert model_to_path("zoo:bert") == path
    assert Engine("zoo:bert", 2).model_path == path
    old = tmp_path / "old" / "hub" / "distilbert"
    old.mkdir(parents=True)
    saved(perceptron(), old)
    assert model_to_path("zoo:distilbert") == str(old / "model.onnx")


def test_models_are_taken_as_bytes_protos_and_folders(tmp_path: Path) -> None:
    path = saved(perceptron(), tmp_path)
    inputs = generate_random_inputs(path, 2, seed=3)
    expected = Engine(path, 2).run(inputs)[0]
    for model in (perceptron(), perceptron().SerializeToString(), Path(path), tmp_path, str(tmp_path)):
        assert np.array_equal(Engine(model, 2).run(inputs)[0], expected)


def test_an_id_outside_of_the_table_is_an_error_and_the_engine_lives_on(tmp_path: Path) -> None:
    engine = Engine(saved(lookup(), tmp_path), 1)
    for bad in (300, -301, 2**40):
        with pytest.raises(InputError, match="position 3 is outside"):
            engine.run([np.array([[0, 1, 2, bad]])])
    good = np.array([[0, 299, -300, -1]])
    np.testing.assert_allclose(
        engine.run([good])[0], reference(engine.model_path, [good % 300])[0], atol=1e-6
    )


def test_threads_share_an_engine(path: str) -> None:
    engine = Engine(path, 2)
    cases = [engine.generate_random_inputs(seed) for seed in range(4)]
    expected = [engine.run(inputs)[0] for inputs in cases]
    wrong: list[int] = []

    def calls(i: int) -> None:
        wrong.extend(i for _ in range(50) if not np.array_equal(engine.run(cases[i])[0], expected[i]))

    threads = [threading.Thread(target=calls, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_properties_are_read_only_and_printed(path: str) -> None:
    engine = Engine(path, 2, num_cores=1)
    with pytest.raises(AttributeError):
        engine.batch_size = 5  # type: ignore[misc]
    lines = str(engine).split("\n\t")
    keys = [line.split(":")[0] for line in lines[1:]]
    assert keys[:8] == [
        "onnx_file_path",
        "batch_size",
        "num_cores",
        "num_streams",
        "scheduler",
        "fraction_of_supported_ops",
        "cpu_avx_type",
        "cpu_vnni",
    ]
    assert "scheduler: Scheduler.default" in str(engine)
    assert engine.fraction_of_supported_ops == 1.0
    assert engine.num_cores == 1


def test_benchmark_counts_and_keeps(path: str) -> None:
    engine = Engine(path, 2)
    inputs = engine.generate_random_inputs()
    results = engine.benchmark(inputs, num_iterations=7, num_warmup_iterations=2, include_outputs=True)
    assert results.num_batches == 7
    assert results.num_items == 14
    kept: Any = results.outputs
    assert np.array_equal(kept[0][0], engine.run(inputs)[0])
    with pytest.raises(OptionError):
        engine.benchmark(inputs, num_iterations=0)
    with pytest.raises(OptionError, match="not empty"):
        engine.benchmark_loader([])
    endless = itertools.repeat(inputs)
    assert engine.benchmark_loader(endless, num_iterations=3, num_warmup_iterations=1).num_batches == 3
