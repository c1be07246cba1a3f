"""The examples of docs/pipelines.md that need no file run in their order, and say what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# Models, images and functions of the reader's own.
FOREIGN = re.compile(r"model_path=|process_inputs_fn=|\.png")


def test_the_examples_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.registry import _TASKS, find_task

    find_task("qa")
    monkeypatch.setattr("pipelines.registry._TASKS", dict(_TASKS))
    names: dict[str, Any] = {"texts": ["A delight.", "A bore."]}
    own = [block for block in BLOCKS if not FOREIGN.search(block)]
    assert len(own) >= 7
    for block in own:
        exec(compile(block, "docs/pipelines.md", "exec"), names)  # noqa: S102 - our own page
    assert capsys.readouterr().out.startswith("labels=['positive'] scores=[0.99")
    answer = names["ask"](question="Who is Mark?", context="Mark is batman.")
    assert (answer.answer, answer.start, answer.end) == ("batman", 8, 14)
    assert [found.entity for found in names["find"]("Ada Lovelace lived in London.")[0]] == ["PER", "LOC"]
    assert find_task("double-it").pipeline is names["DoublePipeline"]
    assert set(names["classify"].timer_manager.times) == {
        "pre_process",
        "engine_forward",
        "post_process",
        "total_inference",
    }
