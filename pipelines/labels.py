"""Names of a model's classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def labels_of(config: Mapping[str, Any]) -> dict[int, str]:
    """Class number to name from a config.json; LABEL_0, LABEL_1, ... where it names none."""
    named = config.get("id2label") or {}
    count = int(config.get("num_labels") or len(named) or 2)
    return {index: f"LABEL_{index}" for index in range(count)} | {int(k): str(v) for k, v in named.items()}
