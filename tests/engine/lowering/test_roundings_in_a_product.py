"""Every place where a quantiser may round around a product, in the product's own step: bit for bit as NumPy says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lowered_operators import check, fed, floats

from engine.graph import constant, node

SOURCE = np.random.default_rng(23)
STEPS = [1.0, 0.5, 0.0123, 0.3]
K, M = 8, 13


def _pairs(number: float, zero: int) -> tuple[np.float32, int]:
    return np.float32(number), zero


@settings(max_examples=60, deadline=None)
@given(
    product=st.one_of(
        st.none(),
        st.tuples(st.sampled_from(STEPS), st.integers(0, 255)),
        st.tuples(st.just(1.0), st.integers(0, 255), st.sampled_from(STEPS)),
    ),
    summed=st.one_of(st.none(), st.tuples(st.sampled_from(STEPS), st.integers(0, 255))),
    store=st.sampled_from([None, "quantized", "centred", "rounded"]),
    biased=st.booleans(),
    added=st.booleans(),
    positions=st.sampled_from([1, 17, 70]),
)
def test_each_rounding_is_made(
    product: Any, summed: Any, store: str | None, biased: bool, added: bool, positions: int
) -> None:
    x, array = fed("x", SOURCE.integers(-200, 200, (1, positions, K)).astype(np.float32) * np.float32(0.125))
    xq = node("quantize", x, scale=np.float32(0.125), zero_point=101)[0]
    residual, addend = fed("r", floats(1, positions, M))
    weights = constant(SOURCE.integers(-20, 20, (K, M)).astype(np.int8))
    bias = constant(floats(M)) if biased else None
    operands = (
        xq,
        weights,
        constant(np.asarray([2.0**-6], np.float32)),
        None,
        bias,
        residual if added else None,
    )
    attrs: dict[str, Any] = {"weight_axes": "km", "weight_zero": 0, "zero_point": 101, "activation": "none"}
    attrs["product"] = None if product is None else tuple(map(np.float32, product[:1])) + product[1:]
    attrs |= {} if summed is None else {"summed": _pairs(*summed)}
    attrs["store"] = None if store is None else (store, np.float32(0.25), 120)
    y = node("quantized_linear", *operands, **attrs)[0]
    check([y], {x: array, residual: addend} if added else {x: array}, atol=0)


@pytest.mark.parametrize("positions", [1, 40])
def test_attention_leaves_rounded_rows(positions: int) -> None:
    operands = [fed(name, SOURCE.integers(-2, 3, (2, positions, 8)).astype(np.float32)) for name in "qkv"]
    options: dict[str, Any] = {
        "heads": 2,
        "multiplier": np.float32(0),
        "context_multiplier": np.float32(1),
        "probability": None,
        "scores": None,
        "score_multiplier": np.float32(1),
        "zero_masked_rows": False,
    }
    store = ("rounded", np.float32(0.3), 120)
    y = node("attention", *(value for value, _ in operands), store=store, **options)[0]
    check([y], dict(operands), atol=0.31)
