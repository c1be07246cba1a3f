"""What SageMaker asks of a container: /ping, /invocations, its port; for every form of body that it may send."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient

from engine import OptionError
from serve import create_app
from serve.command import configure, make_parser
from serve.config import make_config

ENTRIES: list[dict[str, Any]] = [
    {"task": "image-classification"},
    {"task": "sentiment-analysis", "name": "polarity"},
]
TEXT = {"sequences": "A delight."}


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    config = make_config({"endpoints": ENTRIES, "integration": "sagemaker"}, "test")
    return create_app(config).test_client()


def _image() -> bytes:
    held = BytesIO()
    pytest.importorskip("PIL.Image").new("L", (28, 28), 90).save(held, "PNG")
    return held.getvalue()


def test_the_container_is_healthy(client: FlaskClient) -> None:
    assert (client.get("/ping").status_code, client.get("/ping").get_json()) == (200, {"status": "OK"})


def test_the_first_model_answers_json_and_files(client: FlaskClient) -> None:
    image = _image()
    answer = client.post("/invocations", json={"images": [base64.b64encode(image).decode()]})
    assert answer.status_code == 200, answer.get_json()
    form = {"request": (BytesIO(image), "image.png")}
    for path in ("/invocations", "/invocations/image_classification/infer/from_files"):
        sent = {name: (BytesIO(image), file) for name, (_, file) in form.items()}
        same = client.post(path, data=sent, content_type="multipart/form-data")
        assert same.get_json() == answer.get_json()


@pytest.mark.parametrize("path", ["/invocations", "/invocations/polarity/infer"])
def test_another_model_is_named_by_the_header_or_the_path(client: FlaskClient, path: str) -> None:
    header = {"X-Amzn-SageMaker-Target-Model": "polarity"} if path == "/invocations" else {}
    answer = client.post(path, json=TEXT, headers=header)
    assert answer.get_json() == client.post("/v2/models/polarity/infer", json=TEXT).get_json()
    assert answer.get_json()["labels"] == ["positive"]


def test_a_name_of_no_model_is_404_with_the_names(client: FlaskClient) -> None:
    answer = client.post("/invocations", json=TEXT, headers={"X-Amzn-SageMaker-Target-Model": "other"})
    assert answer.status_code == 404
    assert "polarity" in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("given", "variable", "port"),
    [
        (["--integration", "sagemaker"], None, 8080),
        (["--integration", "sagemaker"], "9000", 9000),
        (["--integration", "sagemaker", "--port", "7000"], "9000", 7000),
        ([], "9000", 5543),
    ],
)
def test_the_port_is_the_containers(
    given: list[str], variable: str | None, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGEMAKER_BIND_TO_PORT", raising=False)
    if variable:
        monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", variable)
    assert configure(make_parser().parse_args(["--task", "glue", *given])).port == port


@pytest.mark.parametrize("variable", ["many", "70000", "-1"])
def test_a_wrong_port_of_the_container_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", variable)
    with pytest.raises(OptionError, match=f'SAGEMAKER_BIND_TO_PORT must be a port .*"{variable}"'):
        configure(make_parser().parse_args(["--task", "glue", "--integration", "sagemaker"]))


def test_elsewhere_there_are_no_such_paths() -> None:
    client = create_app(make_config({"endpoints": ENTRIES[1:]}, "test")).test_client()
    assert client.post("/invocations", json=TEXT).status_code == 404
