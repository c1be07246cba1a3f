"""From the vectors of tokens to one vector of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Vectors f32 [texts, tokens, width] and mask int64 [texts, tokens] to f32 [texts, ...].
Pooling = Callable[[Array, Array], Array]


def _mean(vectors: Array, mask: Array) -> Array:
    weights = mask[..., None].astype(vectors.dtype)
    total: Array = (vectors * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    return total


def _max(vectors: Array, mask: Array) -> Array:
    largest: Array = np.where(mask[..., None] > 0, vectors, -np.inf).max(axis=1).astype(vectors.dtype)
    return largest


def _cls(vectors: Array, mask: Array) -> Array:
    first = mask.argmax(axis=1)
    return np.asarray(vectors[np.arange(len(vectors)), first])


def _without_first(pool: Pooling) -> Pooling:
    def pooled(vectors: Array, mask: Array) -> Array:
        kept = mask.copy()
        kept[np.arange(len(kept)), kept.argmax(axis=1)] = 0
        return pool(vectors, kept)

    return pooled


def _per_token(vectors: Array, mask: Array) -> Array:  # noqa: ARG001 - the signature of all
    return vectors.reshape(len(vectors), -1)


POOLING: dict[str, Pooling] = {
    "mean": _mean,
    "max": _max,
    "cls": _cls,
    "cls_token": _cls,
    "reduce_mean": _without_first(_mean),
    "reduce_max": _without_first(_max),
    "per_token": _per_token,
}


def normalised(vectors: Array) -> Array:
    """Rows divided by their Euclidean length; a row of zeros stays."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
