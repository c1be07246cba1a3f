"""A window of keys is recognised by what the mask does, beside padding or alone, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from form_check import check, node_of, random
from hypothesis import given
from hypothesis import strategies as st
from reference.onnx_builder import ModelBuilder

LOWEST = float(np.finfo(np.float32).min)
BATCH, LENGTH, HEADS, DEPTH = 2, 7, 2, 4
WIDTH = HEADS * DEPTH
DISTANCE = np.arange(LENGTH) - np.arange(LENGTH)[:, None]


def _model(
    inside: np.ndarray, *, padded: bool, low: float = LOWEST
) -> tuple[ModelBuilder, dict[str, np.ndarray]]:
    """Attention over keys that are inside, and no padding."""
    b = ModelBuilder(opset=17)
    feeds = {name: random(BATCH, LENGTH, WIDTH, seed=seed) for seed, name in enumerate("qkv")}
    q, k, v = (b.input(name, np.float32, array.shape) for name, array in feeds.items())

    def split(x: str, perm: list[int]) -> str:
        return b.op("Transpose", b.op("Reshape", x, b.ints(BATCH, LENGTH, HEADS, DEPTH)), perm=perm)

    seen = b.weight(inside.reshape(1, 1, LENGTH, LENGTH))
    if padded:
        feeds["mask"] = (np.arange(LENGTH) < np.array([[LENGTH], [3]])).astype(np.int64)
        kept = b.op("Cast", b.input("mask", np.int64, feeds["mask"].shape), to=9)
        seen = b.op("And", seen, b.op("Unsqueeze", kept, b.ints(1, 2)))
    scores = b.op("MatMul", split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1]))
    masked = b.op("Add", scores, b.op("Where", seen, b.number(0), b.number(low)))
    context = b.op("MatMul", b.op("Softmax", masked, axis=-1), split(v, [0, 2, 1, 3]))
    joined = b.op("Transpose", context, perm=[0, 2, 1, 3])
    b.output(b.op("Reshape", joined, b.ints(BATCH, LENGTH, WIDTH)))
    return b, feeds


@given(before=st.integers(0, LENGTH), behind=st.integers(0, LENGTH), padded=st.booleans())
def test_windows_are_the_attentions_own(before: int, behind: int, padded: bool) -> None:
    inside = (before + DISTANCE >= 0) & (behind - DISTANCE >= 0)
    b, feeds = _model(inside, padded=padded)
    attention = node_of(check(b, feeds, peer=False), "attention")
    window = attention.attrs.get("window")
    assert (window is None) == bool(inside.all())
    if window is not None:
        assert window == (min(before, LENGTH - 1), min(behind, LENGTH - 1), LOWEST)
    shapes = [value.shape for value in attention.inputs[3:] if value is not None]
    assert shapes == ([(BATCH, 1, 1, LENGTH)] if padded else [])


OTHERS = {
    "a hole": (abs(DISTANCE) <= 2) & (DISTANCE != 1),
    "every other key": DISTANCE % 2 == 0,
    "not next to itself": abs(DISTANCE) >= 3,
    "blocks": np.arange(LENGTH)[:, None] // 3 == np.arange(LENGTH) // 3,
}


@pytest.mark.parametrize("inside", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("padded", [False, True])
def test_other_masks_of_queries_stay(inside: np.ndarray, padded: bool) -> None:
    b, feeds = _model(inside, padded=padded)
    attention = node_of(check(b, feeds), "attention")
    assert attention.attrs.get("window") is None
    assert attention.inputs[3] is not None
    assert attention.inputs[3].shape[-2:] == (LENGTH, LENGTH)


def test_numbers_that_leave_a_trace_make_no_window() -> None:
    b, feeds = _model(abs(DISTANCE) <= 2, padded=True, low=-100.0)
    assert node_of(check(b, feeds), "attention").attrs.get("window") is None
