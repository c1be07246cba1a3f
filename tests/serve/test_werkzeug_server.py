"""Where there is no Gunicorn: the same answers from Werkzeug's own server."""

from __future__ import annotations

import json
import socket
import sys
from http.client import HTTPConnection
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines import ENGINES
from serve import command, listener, werkzeug_server
from serve.config import ServerConfig, make_config


class Negative:
    """An engine that finds everything negative."""

    input_names = ("input_ids",)
    input_shapes = ((1, 128),)
    batch_size = 1

    def __init__(self, _: Any) -> None:
        pass

    def run(self, inp: list[NDArray[Any]]) -> list[NDArray[Any]]:
        return [np.array([[3.0, 0.0]] * len(inp[0]), np.float32)]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> ServerConfig:
    monkeypatch.setitem(ENGINES, "engine", Negative)
    return make_config({"endpoints": [{"task": "glue"}], "host": "127.0.0.1", "port": 0}, "test")


def test_answers_are_sent_without_waiting_for_acknowledgements() -> None:
    with listener.bind("127.0.0.1", 0) as bound:
        assert bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_requests_are_answered_until_shutdown(config: ServerConfig) -> None:
    with listener.bind(config.host, config.port) as bound:
        assert not listener.is_listening(bound)
        server = werkzeug_server.make(config, bound)
        assert listener.is_listening(bound)
        thread = Thread(target=server.serve_forever)
        thread.start()
        client = HTTPConnection(config.host, bound.getsockname()[1], timeout=60)
        client.request("POST", "/predict", b'{"sequences": "a"}')
        assert json.loads(client.getresponse().read())["labels"] == ["negative"]
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()
    assert not listener.is_listening(bound)


def test_it_takes_over_where_gunicorn_cannot_be_imported(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[ServerConfig] = []

    def serve(given: ServerConfig, bound: socket.socket) -> None:
        served.append(given)
        bound.close()

    monkeypatch.setitem(sys.modules, "serve.gunicorn_server", None)
    monkeypatch.setattr(werkzeug_server, "run", serve)
    assert command.main(["--task", "glue", "--host", "127.0.0.1", "--port", "0"]) == 0
    assert served[0].endpoints == config.endpoints


@pytest.mark.parametrize(("host", "start"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_addresses_are_written_as_links(host: str, start: str) -> None:
    with listener.bind("127.0.0.1", 0) as bound:
        assert listener.url(bound, host).startswith(start)
