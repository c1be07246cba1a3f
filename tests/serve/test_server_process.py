"""The real command on a free port: the documented requests, and a stop that finishes what it began."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

SEED = {"sequences": "Sending requests to DeepSparse Server is fast and easy!"}
YAML = """
endpoints:
  - task: sentiment-analysis
    model: default
    scheduler: multi_stream # default: maps to single_stream
"""
TASK = ["--task", "sentiment-analysis", "--model_path", "default"]


@contextmanager
def _server(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command, once it has said that it takes connections, and its port."""
    command = [sys.executable, "-m", "serve", "--host", "127.0.0.1", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            found = re.search(r"running on http://127\.0\.0\.1:(\d+)", line)
            if found:
                break
        else:
            pytest.fail(f"the server ended: {''.join(seen)}")
        try:
            yield process, int(found[1])
        finally:
            process.terminate()
            process.wait(timeout=60)


def _post(port: int, path: str, body: Any) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("start", ["task", "yaml"])
def test_the_documented_requests_are_answered_and_sigterm_ends_it(tmp_path: Path, start: str) -> None:
    file = tmp_path / "sentiment-analysis-config.yaml"
    file.write_text(YAML, encoding="utf-8")
    arguments = TASK if start == "task" else ["--config-file", str(file)]
    with _server(*arguments) as (process, port):
        for path in ("/predict", "/v2/models/sentiment_analysis/infer"):
            status, text = _post(port, path, SEED)
            assert status == 200
            assert re.fullmatch(r'\{"labels":\["positive"\],"scores":\[0\.\d+\]\}', text)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=60):
            pass


def test_files_are_taken_in_chunks_of_unknown_length(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("L", (28, 28), 90).save(tmp_path / "image.png")
    head = b'--x\r\nContent-Disposition: form-data; name="images"; filename="image.png"\r\n\r\n'
    body = head + (tmp_path / "image.png").read_bytes() + b"\r\n--x--\r\n"
    file = tmp_path / "server.yaml"
    file.write_text("max_body_bytes: 4096\nendpoints: [{task: image-classification}]", encoding="utf-8")
    with _server("--config-file", str(file)) as (_, port):
        for sent, expected in ((body, 200), (body[:-7] + bytes(9000) + body[-7:], 413)):
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            parts = (sent[place : place + 100] for place in range(0, len(sent), 100))
            kind = {"Content-Type": "multipart/form-data; boundary=x"}
            connection.request("POST", "/predict", parts, kind, encode_chunked=True)
            response = connection.getresponse()
            content = json.loads(response.read())
            connection.close()
            assert response.status == expected, content
            assert ("labels" in content) is (expected == 200)


def test_a_request_that_has_begun_is_answered_after_sigterm() -> None:
    body = json.dumps(SEED).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        _server(*TASK) as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=60) as client,
    ):
        answers = client.makefile("rb")
        # The first request makes sure that the connection is taken, not only waiting to be.
        client.sendall(head + body)
        assert _read_answer(answers) == 200
        client.sendall(head + body[:10])
        process.send_signal(signal.SIGTERM)
        client.sendall(body[10:])
        assert _read_answer(answers) == 200
        assert process.wait(timeout=60) == 0


def _read_answer(answers: Any) -> int:
    status = int(answers.readline().split()[1])
    length = 0
    while (line := answers.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    assert set(json.loads(answers.read(length))) == {"labels", "scores"}
    return status
