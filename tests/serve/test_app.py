"""The routes through Flask's test client, with a stand-in engine: answers, codes, identifiers."""

from __future__ import annotations

import json
import logging
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from pipelines import ENGINES, EngineArguments
from serve import Service, build_app, create_app
from serve.config import make_config

SEED = {"sequences": "Sending requests to DeepSparse Server is fast and easy!"}
EVERY_PATH = [
    "/predict",
    "/v2/models/sentiment_analysis/infer",
    "/v2/models/sentiment-analysis/infer",
    "/v2/models/sentiment-analysis-0/infer",
]


class Polarity:
    """An engine that finds everything positive, or does as a test says."""

    logits = (-1.0, 2.0)
    failure: Exception | None = None
    meeting: Barrier | None = None

    def __init__(self, arguments: EngineArguments) -> None:
        self.arguments = arguments
        self.batch_size = arguments.batch_size
        self.input_names = ["input_ids"]
        self.input_shapes = arguments.input_shapes or [[-1, 128]]

    def run(self, inp: list[NDArray[Any]]) -> list[NDArray[Any]]:
        if self.meeting is not None:
            self.meeting.wait(timeout=60)
        if self.failure is not None:
            raise self.failure
        return [np.tile(np.array(self.logits, np.float32), (len(inp[0]), 1))]


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "engine", Polarity)


def _client(*endpoints: dict[str, Any], **server: Any) -> FlaskClient:
    entries = [{"task": "sentiment-analysis", **endpoint} for endpoint in endpoints or ({},)]
    return create_app(make_config({"endpoints": entries, **server}, "test")).test_client()


@pytest.mark.parametrize("path", EVERY_PATH)
def test_every_path_answers_the_documented_body(path: str) -> None:
    response = _client().post(path, json=SEED)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    score = 1 / (1 + np.exp(-3.0))
    assert response.get_data(as_text=True).startswith('{"labels":["positive"],"scores":[0.95')
    assert response.get_json() == {"labels": ["positive"], "scores": [pytest.approx(score)]}


@pytest.mark.parametrize("sequences", [["a", "b"], [["a", "b"]], "a", []])
def test_bodies_are_the_tasks_input(sequences: Any) -> None:
    answer = _client().post("/predict", json={"sequences": sequences}).get_json()
    assert len(answer["labels"]) == (1 if isinstance(sequences, str) else len(sequences))


def test_a_body_needs_no_content_type() -> None:
    assert _client().post("/predict", data=json.dumps(SEED)).status_code == 200


def test_arguments_of_an_endpoint_reach_its_pipeline() -> None:
    endpoint = {"kwargs": {"sequence_length": 64, "top_k": 2}, "scheduler": "multi_stream", "batch_size": 3}
    config = make_config({"endpoints": [{"task": "glue", **endpoint}], "num_workers": 5}, "test")
    service = Service(config)
    service.load()
    engine = service.pipeline(service.endpoints[0]).engine
    assert isinstance(engine, Polarity)
    arguments = engine.arguments
    assert arguments.input_shapes == [[3, 64]]
    assert (arguments.scheduler, arguments.num_streams) == ("multi_stream", 5)
    answer = build_app(service).test_client().post("/predict", json=SEED).get_json()
    assert answer["labels"] == [["positive", "negative"]]


@pytest.mark.parametrize(
    "path", ["/v2/health/live", "/v2/health/ready", "/health", "/healthcheck", "/status", "/ping"]
)
def test_health_is_answered_under_every_name(path: str) -> None:
    response = _client().get(path)
    assert (response.status_code, response.get_json()) == (200, {"status": "OK"})


def test_models_describe_themselves() -> None:
    client = _client({"model": "default"})
    found = client.get("/v2/models/sentiment_analysis").get_json()
    assert (found["name"], found["model_path"]) == ("sentiment_analysis", "default")
    assert found["inputs"] == [{"name": "input_ids", "shape": [1, 128]}]
    assert client.get("/v2/models/sentiment-analysis/ready").get_json() == {"status": "OK"}
    assert client.get("/v2/models").get_json() == {"models": ["sentiment_analysis"]}
    assert client.get("/v2").get_json()["name"] == "sparselane"


def test_the_configuration_in_effect_is_shown() -> None:
    config = _client({"batch_size": 4}, port=1234).get("/config").get_json()
    assert config["port"] == 1234
    assert config["endpoints"][0]["batch_size"] == 4


def test_the_start_page_is_the_documentation() -> None:
    response = _client().get("/")
    assert (response.status_code, response.headers["Location"]) == (307, "/docs")


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, [["body", "sequences"]]),
        ({"sequence": "a"}, [["body", "sequences"], ["body", "sequence"]]),
        ({"sequences": "a", "extra": 1}, [["body", "extra"]]),
        ([], [["body"]]),
        ("text", [["body"]]),
        (None, [["body"]]),
    ],
)
def test_bodies_that_do_not_fit_are_422_with_their_places(body: Any, places: list[list[str]]) -> None:
    response = _client().post("/predict", data=json.dumps(body))
    content = response.get_json()
    assert response.status_code == 422
    assert [item["loc"] for item in content["detail"]] == places
    assert all(set(item) == {"loc", "msg", "type"} for item in content["detail"])
    assert content["code"] == "invalid"


def test_a_field_of_a_wrong_type_names_the_field() -> None:
    content = _client().post("/predict", json={"sequences": 7}).get_json()
    assert all(item["loc"][:2] == ["body", "sequences"] for item in content["detail"])
    assert "body.sequences" in content["error"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"not json", b'{"sequences": NaN', b"\xff\xfe", b'{"sequences": "\\ud800"}', b"[" * 100_000],
    ids=range(7),
)
def test_bodies_that_are_no_json_are_400(body: bytes) -> None:
    response = _client().post("/predict", data=body)
    assert response.status_code == 400
    assert response.get_json()["code"] == "bad_request"


def test_what_a_pipeline_refuses_is_400_with_its_sentence() -> None:
    response = _client().post("/predict", json={"sequences": [["a", "b", "c"]]})
    assert response.status_code == 400
    assert "pair of texts" in response.get_json()["error"]


@pytest.mark.parametrize("failure", [RuntimeError("/secret/path"), KeyError("x"), MemoryError()])
def test_failures_are_500_without_a_stack_and_logged_with_the_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    monkeypatch.setattr(Polarity, "failure", failure)
    client = _client()
    with caplog.at_level(logging.ERROR, "serve"):
        response = client.post("/predict", json=SEED)
    content = response.get_json()
    assert response.status_code == 500
    assert set(content) == {"error", "code", "id"}
    assert "secret" not in content["error"]
    assert content["id"] == response.headers["X-Request-Id"]
    assert content["id"] in caplog.text
    assert "Traceback" in caplog.text


def test_unknown_paths_are_404_with_the_paths_of_models() -> None:
    response = _client().post("/v2/models/other/infer", json=SEED)
    content = response.get_json()
    assert response.status_code == 404
    assert content["detail"] == "Not Found"
    assert set(EVERY_PATH) <= set(content["models"])


def test_a_wrong_method_is_405_with_the_right_one() -> None:
    response = _client().get("/predict")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert response.get_json()["code"] == "method_not_allowed"


def test_a_body_over_the_limit_is_413() -> None:
    response = _client(max_body_bytes=1024).post("/predict", json={"sequences": "word " * 1000})
    assert response.status_code == 413
    assert response.get_json()["error"]


def test_before_the_models_are_loaded_requests_are_503_and_the_process_is_alive() -> None:
    client = build_app(Service(make_config({"endpoints": [{"task": "glue"}]}, "test"))).test_client()
    assert client.get("/v2/health/live").status_code == 200
    gets = ["/v2/health/ready", "/ping", "/v2/models/glue", "/v2/models/glue/ready", "/openapi.json"]
    for response in [*(client.get(path) for path in gets), client.post("/predict", json=SEED)]:
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert response.get_json()["code"] == "not_ready"


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1.2_3", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("", False)],
)
def test_a_request_keeps_the_callers_identifier_if_it_is_plain(given: str, kept: bool) -> None:
    answered = _client().get("/ping", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert (answered == given) is kept
    assert answered


def test_scores_that_are_no_numbers_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Polarity, "logits", (float("nan"), float("nan")))
    response = _client().post("/predict", json=SEED)
    assert json.loads(response.get_data())["scores"] == [None]


def test_requests_of_several_threads_are_in_flight_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Polarity, "meeting", Barrier(4))
    app = create_app(make_config({"endpoints": [{"task": "glue"}]}, "test"))
    codes: list[int] = []

    def ask() -> None:
        codes.append(app.test_client().post("/predict", json=SEED).status_code)

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 4
