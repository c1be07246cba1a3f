"""An engine for tests that need no model: logits that depend on each row alone, and a record of the calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import EngineArguments

Array = NDArray[Any]


class StandInEngine:
    """Takes a transformer's three inputs; logits [rows, labels] are sums over each row's ids."""

    labels = 2

    def __init__(self, arguments: EngineArguments) -> None:
        self.arguments = arguments
        self.batch_size = arguments.batch_size
        self.input_names = ["input_ids", "attention_mask", "token_type_ids"]
        self.input_shapes = (arguments.input_shapes or [[arguments.batch_size or -1, 128]]) * 3
        self.calls: list[tuple[int, ...]] = []

    def run(self, inp: list[Array]) -> list[Array]:
        assert len(inp) == 3
        assert all(array.dtype == np.int64 and array.flags.c_contiguous for array in inp)
        ids, mask, _ = inp
        self.calls.append(ids.shape)
        weights = np.arange(1, self.labels + 1)
        logits: Array = ((ids * mask).sum(axis=1, keepdims=True) * weights % 17 / 4).astype(np.float32)
        return [logits]


class ManyLabels(StandInEngine):
    """Five labels instead of two."""

    labels = 5


class OneLabel(StandInEngine):
    """A single logit."""

    labels = 1
