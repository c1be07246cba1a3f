"""A context: engines of several pipelines on the same threads and streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from stand_in_engine import StandInEngine

import engine
from engine import OptionError
from pipelines import EngineArguments, Pipeline

TASK = "sentiment-analysis"


@dataclass
class FakeContext:
    """What pipelines look at."""

    num_cores: int = 2


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def multi_model_engine(model: str, **options: Any) -> StandInEngine:
        calls.append(options)
        shapes = options["input_shapes"]
        return StandInEngine(EngineArguments(model, options["batch_size"], input_shapes=shapes))

    monkeypatch.setattr(engine, "MultiModelEngine", multi_model_engine, raising=False)
    return calls


def test_pipelines_of_one_context_make_their_engines_in_it(made: list[dict[str, Any]]) -> None:
    context = FakeContext()
    first = Pipeline.create(TASK, context=context)
    Pipeline.create(TASK, context=context, batch_size=4, sequence_length=16, num_cores=2)
    assert [call["context"] for call in made] == [context, context]
    assert [call["batch_size"] for call in made] == [1, 4]
    assert made[1]["input_shapes"] == [[4, 16]]
    assert first.context is context
    assert first("a").labels
    assert "context" not in first.to_config().kwargs


@pytest.mark.usefixtures("made")
def test_a_context_has_its_own_cores() -> None:
    with pytest.raises(OptionError, match="the context has 2"):
        Pipeline.create(TASK, context=FakeContext(), num_cores=1)
    with pytest.raises(OptionError, match=r"engine\.Context"):
        Pipeline.create(TASK, context="two streams")
