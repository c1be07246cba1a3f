"""The benchmark's flags: what they are called, what they mean, what is refused."""

from __future__ import annotations

import pytest

from engine.bench.arguments import parse_arguments, parse_input_shapes
from engine.errors import OptionError

SHAPES = [
    ("", None),
    ("[1,128]", ((1, 128),)),
    ("[1,128],[1,128],[1,3]", ((1, 128), (1, 128), (1, 3))),
    (" [ 64 , 384 ] ", ((64, 384),)),
    ("[[1,128],[2,3,4]]", ((1, 128), (2, 3, 4))),
    ("[[1,128]]", ((1, 128),)),
]
SPELLINGS = [
    ("batch_size", ["-b", "--batch_size", "--batch-size"], "8", 8),
    ("input_shapes", ["-i", "-shapes", "--input_shapes", "--input-shapes"], "[8,4]", ((8, 4),)),
    ("num_cores", ["-ncores", "--num_cores", "--num-cores"], "2", 2),
    ("scenario", ["-s", "--scenario"], "async", "async"),
    ("time", ["-t", "--time"], "3", 3.0),
    ("warmup_time", ["-w", "--warmup_time", "--warmup-time"], "0", 0.0),
    ("num_streams", ["-nstreams", "--num_streams", "--num-streams"], "4", 4),
    ("thread_pinning", ["-pin", "--thread_pinning", "--thread-pinning"], "none", "none"),
    ("engine", ["-e", "--engine"], "onnxruntime", ["onnxruntime"]),
    ("export_path", ["-x", "--export_path", "--export-path"], "out.json", "out.json"),
]
REFUSED = [
    ([], "MODEL"),
    (["m.onnx", "-b", "0"], "0 is less than 1"),
    (["m.onnx", "-b", "four"], "whole number"),
    (["m.onnx", "-t", "-1"], "less than 0"),
    (["m.onnx", "-t", "nan"], "less than 0"),
    (["m.onnx", "-s", "serial"], "'serial'"),
    (["m.onnx", "-pin", "socket"], "'socket'"),
    (["m.onnx", "-i", "128"], "[1,128]"),
    (["m.onnx", "-i", "[1,x]"], "[1,x]"),
    (["m.onnx", "--layers"], "--layers"),
    (["m.onnx", "n.onnx"], "n.onnx"),
]


@pytest.mark.parametrize(("text", "shapes"), SHAPES)
def test_shapes_are_read(text: str, shapes: object) -> None:
    assert parse_input_shapes(text) == shapes


@pytest.mark.parametrize(("name", "flags", "text", "value"), SPELLINGS)
def test_every_spelling_of_a_flag_is_one_option(
    name: str, flags: list[str], text: str, value: object
) -> None:
    for flag in flags:
        assert getattr(parse_arguments(["m.onnx", flag, text]), name) == value


@pytest.mark.parametrize(("arguments", "part"), REFUSED)
def test_refusal_is_one_line_that_names_the_value(arguments: list[str], part: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_arguments(arguments)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_defaults() -> None:
    options = parse_arguments(["m.onnx"])
    assert (options.engine, options.scenario, options.time, options.warmup_time) == (
        ["engine"],
        "sync",
        10,
        2,
    )
    assert (options.batch_size, options.input_shapes, options.num_cores) == (None, None, 0)
    assert [options.quiet, options.validate, options.idle_check, options.debug] == [False] * 4


def test_engines_are_kept_in_order_and_once() -> None:
    words = [w for e in ("openvino", "engine", "openvino") for w in ("-e", e)]
    assert parse_arguments(["m.onnx", *words]).engine == ["openvino", "engine"]
