"""A stand-in engine with outputs per token: scores that depend on the token and its place, and on nothing else."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines import EngineArguments

Array = NDArray[Any]


class TokenEngine:
    """Logits f32 [rows, tokens, labels], or with `spans` two outputs [rows, tokens]."""

    labels: ClassVar[int] = 9
    spans: ClassVar[bool] = False

    def __init__(self, arguments: EngineArguments) -> None:
        self.batch_size = arguments.batch_size
        self.input_names = ["input_ids", "attention_mask", "token_type_ids"]
        self.input_shapes = (arguments.input_shapes or [[arguments.batch_size or -1, -1]]) * 3
        self.calls: list[dict[str, Array]] = []

    def run(self, inp: list[Array]) -> list[Array]:
        self.calls.append(dict(zip(self.input_names, inp, strict=True)))
        ids, _, _ = inp
        places = np.arange(ids.shape[1])
        numbers = [np.sin(ids * (label + 1) * 0.7 + places * 0.3) * 5 for label in range(self.labels)]
        if self.spans:
            return [numbers[0].astype(np.float32), numbers[1].astype(np.float32)]
        return [np.stack(numbers, axis=-1).astype(np.float32)]


class SpanEngine(TokenEngine):
    """Start and end logits."""

    spans: ClassVar[bool] = True
