"""Images as the files of a form: the same answers as in JSON, and what is wrong named by its code."""

from __future__ import annotations

import base64
import gc
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve import create_app
from serve.config import make_config

pillow = pytest.importorskip("PIL.Image")


def _file(kind: str, shift: int = 0) -> bytes:
    held = BytesIO()
    pixels = ((np.arange(28 * 28) + shift) % 251).astype(np.uint8).reshape(28, 28)
    pillow.fromarray(pixels).save(held, kind)
    return held.getvalue()


FILES = [_file("PNG"), _file("PNG", 90), _file("BMP", 200)]
FORM = "multipart/form-data"


def _client(task: str, **server: Any) -> FlaskClient:
    return create_app(make_config({"endpoints": [{"task": task}], **server}, "test")).test_client()


@pytest.fixture(scope="module")
def classify() -> FlaskClient:
    return _client("image-classification")


@pytest.fixture(scope="module")
def detect() -> FlaskClient:
    return _client("object-detection")


def _parts(files: list[bytes], name: str = "images", **fields: Any) -> dict[str, Any]:
    return {name: [(BytesIO(content), f"{place}.bin") for place, content in enumerate(files)], **fields}


def _post(client: FlaskClient, parts: dict[str, Any], path: str = "/predict") -> Any:
    return client.post(path, data=parts, content_type=FORM)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["images", "request"])
@pytest.mark.parametrize(
    "path",
    [
        "/predict",
        "/predict/from_files",
        "/v2/models/image_classification/infer",
        "/v2/models/image-classification/infer/from_files",
    ],
)
def test_files_are_answered_as_a_list_in_json(
    classify: FlaskClient, path: str, name: str, count: int
) -> None:
    texts = [base64.b64encode(content).decode() for content in FILES[:count]]
    answer = _post(classify, _parts(FILES[:count], name), path)
    assert answer.status_code == 200, answer.get_json()
    assert answer.get_json() == classify.post("/predict", json={"images": texts}).get_json()
    assert len(answer.get_json()["labels"]) == count


def test_fields_of_a_form_are_those_of_the_task(detect: FlaskClient) -> None:
    request = {"images": [base64.b64encode(FILES[0]).decode()], "conf_thres": 0.01, "multi_label": True}
    plain = detect.post("/predict", json=request).get_json()
    answer = _post(detect, _parts(FILES[:1], conf_thres="0.01", multi_label="true"))
    assert answer.get_json() == plain
    assert len(plain["boxes"][0]) > len(_post(detect, _parts(FILES[:1])).get_json()["boxes"][0])


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({}, "images"),
        ({"images": "text instead of a file"}, "images"),
        (_parts(FILES[:1], "photos"), "images"),
        ({**_parts(FILES[:1], "request"), "images": "text"}, "images"),
        (_parts(FILES[:1], conf_thres="much"), "conf_thres"),
        (_parts(FILES[:1], conf_thres="2"), "conf_thres"),
        (_parts(FILES[:1], confidence="0.5"), "confidence"),
    ],
    ids=["empty", "text", "other name", "text and file", "no number", "too large", "unknown field"],
)
def test_forms_that_do_not_fit_are_422_with_their_places(
    detect: FlaskClient, parts: dict[str, Any], place: str
) -> None:
    content = (answer := _post(detect, parts)).get_json()
    assert answer.status_code == 422, content
    assert content["code"] == "invalid"
    assert [item["loc"] for item in content["detail"]] == [["body", place]]
    assert place in content["error"]


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("sentiment-analysis", FORM),
        ("sentiment-analysis", "text/html"),
        ("image-classification", "image/png"),
        ("image-classification", "multipart/mixed"),
    ],
)
def test_a_body_of_another_kind_is_415_and_is_told_the_right_one(task: str, kind: str) -> None:
    content = (answer := _client(task).post("/predict", data=b"...", content_type=kind)).get_json()
    assert (answer.status_code, content["code"]) == (415, "unsupported_media_type")
    assert kind in content["error"]
    assert "JSON" in content["error"]
    assert (FORM in content["error"].partition("takes")[2]) is (task == "image-classification")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_json_is_taken_whatever_programs_call_it(classify: FlaskClient, kind: str) -> None:
    body = f'{{"images": "{base64.b64encode(FILES[0]).decode()}"}}'
    assert classify.post("/predict", data=body, content_type=kind).status_code == 200


def test_files_over_the_limit_are_413() -> None:
    client = _client("image-classification", max_body_bytes=4096)
    assert _post(client, _parts([bytes(5000)])).status_code == 413
    assert _post(client, _parts([FILES[2]] * 10)).status_code == 413
    assert _post(client, _parts([FILES[0]])).status_code == 200


# What Werkzeug has read by then is left to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
def test_more_parts_than_a_form_may_have_are_413(classify: FlaskClient) -> None:
    assert _post(classify, _parts([b"x"] * 1001)).status_code == 413
    gc.collect()


def test_more_pixels_than_an_image_may_have_are_400(
    classify: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 100)
    answer = _post(classify, _parts(FILES[:1]))
    assert (answer.status_code, answer.get_json()["code"]) == (400, "bad_request")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.sampled_from([_file(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")]),
    cut=st.integers(0, 400),
    place=st.integers(0, 400),
    byte=st.integers(0, 255),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_answered_or_refused_and_never_our_fault(
    classify: FlaskClient, content: bytes, cut: int, place: int, byte: int
) -> None:
    damaged = bytearray(content[: max(1, len(content) - cut)])
    damaged[place % len(damaged)] = byte
    assert _post(classify, _parts([bytes(damaged)])).status_code in (200, 400)


def test_a_form_without_its_boundary_is_the_callers_fault(classify: FlaskClient) -> None:
    for body, kind in ((b"...", FORM), (b"--x\r\n", f"{FORM}; boundary=x")):
        assert classify.post("/predict", data=body, content_type=kind).status_code in (400, 422)


def test_the_documentation_says_which_paths_take_files(classify: FlaskClient) -> None:
    paths = classify.get("/openapi.json").get_json()["paths"]
    taking = {
        path
        for path, verbs in paths.items()
        if FORM in verbs.get("post", {}).get("requestBody", {}).get("content", {})
    }
    assert {"/predict", "/predict/from_files", "/v2/models/image_classification/infer"} <= taking
    assert all("415" in paths[path]["post"]["responses"] for path in taking)
    others = _client("sentiment-analysis").get("/openapi.json").get_json()["paths"]
    assert not [path for path in others if path.endswith("from_files")]
