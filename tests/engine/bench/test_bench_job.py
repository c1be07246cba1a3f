"""What is timed: concrete shapes from a model's dimensions and the command's, and the same job elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.bench.job import Job, concrete_shapes, has_open_dimensions
from engine.errors import OptionError
from engine.frontend import ModelInput

IDS = ModelInput("ids", np.dtype(np.int64), ("batch", "sequence"))
MASK = ModelInput("mask", np.dtype(np.int64), ("batch", "sequence"))
IMAGE = ModelInput("image", np.dtype(np.float32), (4, 3, 32, 32))
OPEN_IMAGE = ModelInput("image", np.dtype(np.float32), (None, 3, "height", "width"))
SCALAR = ModelInput("threshold", np.dtype(np.float32), ())

CASES = [
    ([IDS, MASK], [(1, 16)], None, ((1, 16), (1, 16))),
    ([IDS, MASK], [(1, 16), (1, 8)], None, ((1, 16), (1, 8))),
    ([IDS, MASK], [(1, 16)], 8, ((8, 16), (8, 16))),
    ([IDS], None, None, ((1, 128),)),
    ([IDS], None, 4, ((4, 128),)),
    ([IMAGE], None, None, ((4, 3, 32, 32),)),
    ([IMAGE], None, 1, ((1, 3, 32, 32),)),
    ([OPEN_IMAGE], None, 2, ((2, 3, 224, 224),)),
    ([SCALAR, IDS], None, 2, ((), (2, 128))),
]


def job() -> Job:
    return Job(
        model="m", path="m.onnx", batch_size=2, names=("ids", "x"), dtypes=("int64", "float32"),
        shapes=((2, 3), (2, 4)), input_shapes=None, cores=2, scenario="sync", streams=1, seconds=1.0,
        warmup_seconds=0.5,
    )  # fmt: skip


@pytest.mark.parametrize(("inputs", "given", "batch", "shapes"), CASES)
def test_shapes_are_the_given_ones_else_the_models(
    inputs: list[ModelInput],
    given: list[tuple[int, ...]] | None,
    batch: int | None,
    shapes: tuple[tuple[int, ...], ...],
) -> None:
    assert concrete_shapes(inputs, given, batch) == shapes


@pytest.mark.parametrize(
    ("given", "part"), [([(1, 2), (1, 2), (1, 2)], "2 inputs: ids, mask"), ([(1, 2, 3)], "'ids'")]
)
def test_a_wrong_count_or_rank_names_the_inputs(given: list[tuple[int, ...]], part: str) -> None:
    with pytest.raises(OptionError, match=part):
        concrete_shapes([IDS, MASK], given, None)


def test_an_open_batch_alone_needs_no_shape() -> None:
    fixed = ModelInput("image", np.dtype(np.float32), ("batch", 3, 32, 32))
    assert not has_open_dimensions([fixed])
    assert has_open_dimensions([fixed, IDS])


def test_a_job_is_the_same_in_another_process() -> None:
    assert Job.from_json(json.loads(json.dumps(job().as_json()))) == job()


def test_inputs_are_equal_each_time() -> None:
    for first, second in zip(job().inputs(), job().inputs(), strict=True):
        assert np.array_equal(first, second)
    assert [array.shape for array in job().inputs()] == [(2, 3), (2, 4)]
