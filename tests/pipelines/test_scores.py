"""Scores from logits: right against float64 formulas, and finite for any finite logits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from scipy.special import softmax as reference_softmax

from pipelines.scores import sigmoid, softmax

LOGITS = arrays(np.float32, (3, 4), elements=st.floats(-(2.0**127), 2.0**127, width=32))


@given(LOGITS)
def test_softmax_equals_the_reference_and_sums_to_one(logits: np.ndarray) -> None:
    shares = softmax(logits)
    np.testing.assert_allclose(shares, reference_softmax(logits.astype(np.float64), axis=-1), rtol=1e-12)
    np.testing.assert_allclose(shares.sum(axis=-1), 1.0, rtol=1e-12)


@given(LOGITS)
def test_sigmoid_equals_the_reference(logits: np.ndarray) -> None:
    np.testing.assert_allclose(sigmoid(logits), expit(logits.astype(np.float64)), rtol=1e-12)
