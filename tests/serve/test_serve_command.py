"""The command line: both spellings of options, and one line with exit code 2 for what is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines
from serve.command import configure, main, make_parser
from serve.config import ServerConfig

EMBEDDED = Path(pipelines.__file__).parent / "models" / "sentiment-minilm-l3-pruned80-int8"


def _configure(*arguments: str) -> ServerConfig:
    return configure(make_parser().parse_args(arguments))


@pytest.mark.parametrize("model", ["--model_path", "--model-path"])
@pytest.mark.parametrize("batch", ["--batch_size", "--batch-size"])
@pytest.mark.parametrize("cores", ["--num_cores", "--num-cores"])
@pytest.mark.parametrize("workers", ["--num_workers", "--num-workers"])
@pytest.mark.parametrize("level", ["--log_level", "--log-level"])
def test_options_have_both_spellings(model: str, batch: str, cores: str, workers: str, level: str) -> None:
    config = _configure("--task", "glue", model, "m", batch, "2", cores, "1", workers, "3", level, "warn")
    assert (config.endpoints[0].model, config.endpoints[0].batch_size) == ("m", 2)
    assert (config.num_cores, config.num_workers, config.log_level) == (1, 3, "warn")


def test_the_default_address_is_the_documented_one() -> None:
    config = _configure("--task", "sentiment-analysis", "--model_path", "default")
    assert (config.host, config.port) == ("0.0.0.0", 5543)  # noqa: S104 - as documented


def test_a_model_may_be_given_without_an_option() -> None:
    assert _configure("m.onnx", "--task", "glue").endpoints[0].model == "m.onnx"
    assert _configure("m.onnx", "--task", "glue", "--model_path", "n").endpoints[0].model == "n"


@pytest.mark.parametrize("option", ["--config-file", "--config_file"])
def test_a_file_wins_over_a_task(tmp_path: Path, option: str) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("endpoints: [{task: sentiment-analysis, scheduler: multi_stream}]", encoding="utf-8")
    config = _configure(option, str(file), "--task", "glue", "--port", "7000")
    assert (config.endpoints[0].task, config.endpoints[0].scheduler) == ("sentiment-analysis", "multi_stream")
    assert config.port == 7000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give --task"),
        (["--task", "sentimentanalysis"], 'did you mean "sentiment_analysis"'),
        (["--config-file", "none.yaml"], "none.yaml"),
        (["--task", "glue", "--num-cores", "0"], "num_cores"),
    ],
)
def test_wrong_options_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--prot", "1"], ["--port", "x"], ["--log-level", "loud"]])
def test_unknown_options_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--task", "glue", "--host", "127.0.0.1", "--port", port]) == 2
    assert f"Cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--debug", "--task", "none"]) == 2
    assert "Traceback" in capsys.readouterr().err


def _folder(tmp_path: Path, model: bytes) -> Path:
    for file in EMBEDDED.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.onnx").write_bytes(model)
    return tmp_path


@pytest.mark.parametrize("case", ["missing", "not ONNX", "truncated", "unknown keyword"])
def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path: Path, case: str) -> None:
    model = (EMBEDDED / "model.onnx").read_bytes()
    config = "endpoints: [{task: glue, kwargs: {sequence_lenght: 3}}]"
    (tmp_path / "server.yaml").write_text(config, encoding="utf-8")
    arguments = {
        "missing": ["--task", "glue", "--model_path", str(tmp_path / "none")],
        "not ONNX": ["--task", "glue", "--model_path", str(_folder(tmp_path, b"text"))],
        "truncated": ["--task", "glue", "--model_path", str(_folder(tmp_path, model[: len(model) // 2]))],
        "unknown keyword": ["--config-file", str(tmp_path / "server.yaml")],
    }[case]
    done = subprocess.run(
        [sys.executable, "-m", "serve", "--host", "127.0.0.1", "--port", "0", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
