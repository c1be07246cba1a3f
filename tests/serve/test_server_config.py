"""The server's configuration: what YAML may say, and one sentence for what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import OptionError
from serve import EndpointConfig, ServerConfig, read_config
from serve.config import make_config


def _read(tmp_path: Path, text: str, **overrides: Any) -> ServerConfig:
    file = tmp_path / "server.yaml"
    file.write_text(text, encoding="utf-8")
    return read_config(file, **overrides)


def test_the_defaults_are_the_predecessors() -> None:
    config = make_config({"endpoints": [{"task": "sentiment-analysis"}]}, "test")
    assert (config.host, config.port) == ("0.0.0.0", 5543)  # noqa: S104 - as documented
    assert config.endpoints == [EndpointConfig(task="sentiment-analysis", model="default", batch_size=1)]


def test_every_key_of_an_endpoint_is_read(tmp_path: Path) -> None:
    config = _read(
        tmp_path,
        """
        num_cores: 2
        num_workers: 4
        endpoints:
          - task: text-classification
            model: some/folder
            name: polarity
            route: sentiment/
            batch_size: 8
            scheduler: multi_stream
            num_cores: 1
            num_streams: 3
            kwargs: {sequence_length: 64, top_k: 2}
        """,
    )
    assert config.endpoints[0].model_dump() == {
        "task": "text-classification",
        "model": "some/folder",
        "name": "polarity",
        "route": "/sentiment",
        "batch_size": 8,
        "scheduler": "multi_stream",
        "num_cores": 1,
        "num_streams": 3,
        "kwargs": {"sequence_length": 64, "top_k": 2},
    }


def test_a_dynamic_batch_is_null(tmp_path: Path) -> None:
    assert _read(tmp_path, "endpoints: [{task: glue, batch_size: null}]").endpoints[0].batch_size is None


def test_the_command_line_wins_where_it_says_something(tmp_path: Path) -> None:
    config = _read(tmp_path, "{port: 1, host: a, endpoints: [{task: glue}]}", port=2, host=None)
    assert (config.port, config.host) == (2, "a")


WRONG = [
    (
        "endpoints: [{task: glue, modle: x}]",
        r'endpoints\[0\]\.modle is not a known key; did you mean "model"\?',
    ),
    ("endpoints: [{task: glue, schedular: x}]", 'did you mean "scheduler"'),
    ("endpoints: [{task: glue, zzzz: x}]", "known keys: task, model, name, route"),
    ("{prot: 1, endpoints: [{task: glue}]}", 'prot is not a known key; did you mean "port"'),
    ("endpoint: [{task: glue}]", 'did you mean "endpoints"'),
    (
        "endpoints: [{task: sentimentanalysis}]",
        'Unknown task.*did you mean "sentiment_analysis".*Known tasks',
    ),
    ("endpoints: []", "endpoints: List should have at least 1 item"),
    ("endpoints: {task: glue}", "endpoints: Input should be a valid list"),
    ("endpoints: [{model: x}]", r"endpoints\[0\]\.task: Field required"),
    ("endpoints: [{task: glue, batch_size: 0}]", r"endpoints\[0\]\.batch_size"),
    ("endpoints: [{task: glue, batch_size: many}]", r"endpoints\[0\]\.batch_size: .*integer"),
    ("endpoints: [{task: glue, name: a/b}]", r"endpoints\[0\]\.name"),
    ("endpoints: [{task: glue, route: /docs}]", "belongs to the server"),
    ("endpoints: [{task: glue, route: /v2/models/a}]", "belongs to the server"),
    ("endpoints: [{task: glue, route: /a/infer}]", "leave it out"),
    ('endpoints: [{task: glue, route: "/a b"}]', "is not a path"),
    ("endpoints: [{task: glue, name: a}, {task: glue, name: a}]", 'two endpoints have the name "a"'),
    ("endpoints: [{task: glue, route: a}, {task: glue, route: /a/}]", 'two endpoints have the route "/a"'),
    ("{port: 70000, endpoints: [{task: glue}]}", "port"),
    ("{log_level: loud, endpoints: [{task: glue}]}", "log_level"),
    ("endpoints: [", "not valid YAML"),
    ("endpoints: !!python/object:os.system {}", "not valid YAML"),
    ("- 1", "is a list: it must hold a mapping"),
    ("", "is empty: it must hold a mapping"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_a_wrong_configuration_is_one_sentence_with_the_file(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(OptionError, match=sentence) as error:
        _read(tmp_path, text)
    assert "server.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none\.yaml: No such file"):
        read_config(tmp_path / "none.yaml")
