"""InferenceSession answers as ONNX Runtime's own class does, asked the same way."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import engine.session as ours
import pipelines
from engine import (
    InferenceSession,
    InputError,
    InputTypeError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    RequestCancelledError,
    RunOptions,
    SessionOptions,
    TensorError,
)
from engine.session import IOBinding, OrtValue

pytestmark = pytest.mark.xdist_group("cores")
MODELS = sorted((Path(pipelines.__file__).parent / "models").glob("*/model.onnx"))
SENTIMENT = str(next(path for path in MODELS if path.parent.name.startswith("sentiment")))


@pytest.fixture(scope="module")
def session() -> InferenceSession:
    return InferenceSession(SENTIMENT)


@pytest.fixture(scope="module")
def reference() -> Any:
    return onnxruntime.InferenceSession(SENTIMENT, providers=["CPUExecutionProvider"])


def tokens(rows: int, length: int) -> dict[str, np.ndarray]:
    chosen = np.random.default_rng(rows * 100 + length).integers(100, 2000, (rows, length))
    return {
        "input_ids": chosen.astype(np.int64),
        "attention_mask": np.ones((rows, length), np.int64),
        "token_type_ids": np.zeros((rows, length), np.int64),
    }


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.parent.name)
def test_arguments_are_described_as_by_onnxruntime(path: Path) -> None:
    expected = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = InferenceSession(path)
    for mine, theirs in (
        (found.get_inputs(), expected.get_inputs()),
        (found.get_outputs(), expected.get_outputs()),
    ):
        assert [(a.name, a.type, a.shape) for a in mine] == [(a.name, a.type, a.shape) for a in theirs]
    for field in ("producer_name", "graph_name", "domain", "description", "custom_metadata_map"):
        assert getattr(found.get_modelmeta(), field) == getattr(expected.get_modelmeta(), field)
    assert found.get_providers() == expected.get_providers() == ours.get_available_providers()


@pytest.mark.parametrize(("rows", "length"), [(1, 5), (3, 17), (2, 64)])
def test_answers_are_those_of_onnxruntime(session: Any, reference: Any, rows: int, length: int) -> None:
    feed = tokens(rows, length)
    (expected,) = reference.run(None, feed)
    (found,) = session.run(None, feed)
    np.testing.assert_allclose(found, expected, atol=0.15)
    assert np.array_equal(session.run(["logits"], feed)[0], found)
    assert np.array_equal(session.run([], feed)[0], found)
    assert np.array_equal(session.run(["logits"], {k: OrtValue(v) for k, v in feed.items()})[0], found)
    assert np.array_equal(session.run(None, {k: v.tolist() for k, v in feed.items()})[0], found)
    values = session.run_with_ort_values(None, feed)
    assert np.array_equal(values[0].numpy(), found)


def test_arrays_need_not_be_contiguous(session: Any) -> None:
    feed = tokens(2, 6)
    turned = {name: np.asfortranarray(array) for name, array in feed.items()}
    assert np.array_equal(session.run(None, turned)[0], session.run(None, feed)[0])


def test_bytes_are_taken_and_options_of_both_packages(reference: Any) -> None:
    for options in (SessionOptions(intra_op_num_threads=1), onnxruntime.SessionOptions()):
        found = InferenceSession(Path(SENTIMENT).read_bytes(), options, providers=["CPUExecutionProvider"])
        assert found.run(None, tokens(1, 8))[0].shape == (1, 2)
    assert InferenceSession(SENTIMENT, SessionOptions(intra_op_num_threads=1)).engine.num_cores == 1


def test_a_free_dimension_may_be_given_a_size() -> None:
    options = SessionOptions()
    options.add_free_dimension_override_by_name("batch", 2)
    assert [a.shape for a in InferenceSession(SENTIMENT, options).get_inputs()] == [["batch", "sequence"]] * 3
    options.add_free_dimension_override_by_name("sequence", 16)
    found = InferenceSession(SENTIMENT, options)
    assert [a.shape for a in found.get_inputs()] == [[2, 16]] * 3
    assert found.run(None, tokens(2, 16))[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("feed", "error", "words"),
    [
        ({}, InputError, "missing: input_ids"),
        ({**tokens(1, 4), "extra": np.zeros(1)}, InputError, "unknown: extra"),
        ([1, 2], InputTypeError, "dictionary"),
        ({**tokens(1, 4), "input_ids": np.zeros((1, 4), np.float32)}, TensorError, "int64"),
        ({**tokens(1, 4), "input_ids": np.zeros(4, np.int64)}, TensorError, "shape"),
    ],
)
def test_a_wrong_feed_is_told_apart(session: Any, feed: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        session.run(None, feed)


def test_wrong_names_and_files_are_told_apart(session: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no output nothing"):
        session.run(["nothing"], tokens(1, 4))
    with pytest.raises(ModelNotFoundError):
        InferenceSession(str(tmp_path / "absent.onnx"))
    with pytest.raises(ModelError):
        InferenceSession(b"no model")


@pytest.mark.parametrize(
    "options",
    [
        SessionOptions(enable_profiling=True),
        SessionOptions(optimized_model_filepath="model.opt.onnx"),
        SessionOptions(intra_op_num_threads=-1),
    ],
)
def test_options_that_would_mislead_are_refused(options: SessionOptions) -> None:
    with pytest.raises(OptionError):
        InferenceSession(SENTIMENT, options)
    with pytest.raises(AttributeError):
        options.number_of_threads = 3  # type: ignore[attr-defined]


def test_other_providers_are_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    providers = [("CUDAExecutionProvider", {"device_id": 0}), "CPUExecutionProvider"]
    assert InferenceSession(SENTIMENT, providers=providers).get_providers() == ["CPUExecutionProvider"]
    assert "CUDAExecutionProvider" in caplog.text


def test_bound_arrays_are_read_and_written(session: Any) -> None:
    feed = tokens(2, 9)
    (expected,) = session.run(None, feed)
    binding: IOBinding = session.io_binding()
    binding.bind_cpu_input("input_ids", feed["input_ids"])
    mask, kinds = feed["attention_mask"], feed["token_type_ids"]
    binding.bind_input("attention_mask", "cpu", 0, np.int64, mask.shape, mask.ctypes.data)
    binding.bind_ortvalue_input("token_type_ids", OrtValue.ortvalue_from_numpy(kinds))
    place = np.zeros((2, 2), np.float32)
    binding.bind_output("logits", "cpu", 0, np.float32, place.shape, place.ctypes.data)
    session.run_with_iobinding(binding)
    assert np.array_equal(place, expected)
    assert np.array_equal(binding.copy_outputs_to_cpu()[0], expected)
    binding.clear_binding_outputs()
    value = OrtValue.ortvalue_from_shape_and_type([2, 2], np.float32)
    binding.bind_ortvalue_output("logits", value)
    session.run_with_iobinding(binding)
    assert np.array_equal(value.numpy(), expected)
    assert binding.get_outputs()[0].shape() == [2, 2]
    binding.clear_binding_inputs()
    with pytest.raises(InputError, match="missing"):
        session.run_with_iobinding(binding)
    with pytest.raises(InputError, match="no input"):
        binding.bind_cpu_input("ids", mask)
    with pytest.raises(InputError, match="no output"):
        binding.bind_output("scores")
    with pytest.raises(OptionError, match="cuda"):
        binding.bind_output("logits", "cuda")
    binding.clear_binding_outputs()
    binding.bind_output(
        "logits", "cpu", 0, np.float32, (3,), ctypes.addressof(ctypes.create_string_buffer(12))
    )
    with pytest.raises(TensorError, match="bound"):
        binding.keep([expected])


def test_values_tell_what_onnxruntimes_do() -> None:
    for dtype in (np.float32, np.int64, np.bool_, np.uint8, np.float16, np.float64):
        array = np.zeros((2, 3), dtype)
        mine, theirs = OrtValue.ortvalue_from_numpy(array), onnxruntime.OrtValue.ortvalue_from_numpy(array)
        for name in ("shape", "data_type", "element_type", "device_name", "is_tensor", "has_value"):
            assert getattr(mine, name)() == getattr(theirs, name)()
    mine.update_inplace(np.ones((2, 3)))
    assert np.asarray(mine).sum() == 6
    assert mine.data_ptr() == mine.numpy().ctypes.data
    with pytest.raises(InputTypeError):
        mine.update_inplace(np.ones(2))


def test_a_run_can_be_called_off_and_can_call_back(session: Any) -> None:
    options = RunOptions()
    options.terminate = True
    with pytest.raises(RequestCancelledError):
        session.run(None, tokens(1, 4), options)
    options.terminate = False
    found: list[Any] = []
    done = threading.Event()

    def callback(results: Any, data: Any, error: str) -> None:
        found.append((len(results), data, error))
        done.set()

    session.run_async(None, tokens(1, 4), callback, "mine", options)
    assert done.wait(60)
    assert found == [(1, "mine", "")]
    done.clear()
    session.run_async(None, {}, callback, 1)
    assert done.wait(60)
    assert found[1][:2] == (0, 1)
    assert "missing" in found[1][2]
    done.clear()
    # Whoever waits hears of anything at all.
    session.run_async(None, None, callback, 2)
    assert done.wait(60)
    assert "NoneType" in found[2][2]


def test_the_module_has_the_names_that_programs_take_from_onnxruntime() -> None:
    for name in ours.__all__:
        assert name == "PROVIDER" or hasattr(onnxruntime, name)
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"):
        assert getattr(ours.GraphOptimizationLevel, level)._value_ == int(
            getattr(onnxruntime.GraphOptimizationLevel, level)
        )
    missing = [
        name
        for name in dir(onnxruntime.SessionOptions())
        if not name.startswith("_") and not hasattr(SessionOptions(), name)
    ]
    # Ways into ONNX Runtime's own inside.
    assert set(missing) <= {
        *("add_external_initializers", "add_external_initializers_from_files_in_memory", "add_initializer"),
        *("add_free_dimension_override_by_denotation", "add_provider", "add_provider_for_devices"),
        *("set_provider_selection_policy", "set_provider_selection_policy_delegate", "get_provider_options"),
        *(
            "set_load_cancellation_flag",
            "enable_parallel_execution",
            "has_providers",
            "use_per_session_threads",
        ),
        *("set_ep_context_data_read_func", "clear_ep_context_data_read_func"),
    }


def test_lists_that_make_no_array_are_named(session: InferenceSession) -> None:
    with pytest.raises(InputTypeError, match="list makes no array of int64"):
        session.run(None, {key: [[1, 2], [3]] for key in (entry.name for entry in session.get_inputs())})
