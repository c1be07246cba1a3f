"""Images of a request: what it carries is taken, paths on the server are not, apart from one folder's."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from serve import create_app
from serve.config import make_config

pillow = pytest.importorskip("PIL.Image")
PIXELS = (np.arange(28 * 28) % 251).astype(np.uint8).reshape(28, 28)


def _png() -> bytes:
    held = BytesIO()
    pillow.fromarray(PIXELS).save(held, "PNG")
    return held.getvalue()


def _client(**server: Any) -> FlaskClient:
    endpoint = {"task": "image-classification", "kwargs": {"top_k": 10}}
    return create_app(make_config({"endpoints": [endpoint], **server}, "test")).test_client()


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return _client()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "open").mkdir()
    (tmp_path / "secret.png").write_bytes(_png())
    (tmp_path / "open" / "leads-out.png").symlink_to(tmp_path / "secret.png")
    found = tmp_path / "open" / "garment.png"
    found.write_bytes(_png())
    return found


TEXT = base64.b64encode(_png()).decode()


@pytest.mark.parametrize(
    "images",
    [f"data:image/png;base64,{TEXT}", TEXT, [TEXT], [f"data:image/png;base64,{TEXT}", TEXT], PIXELS.tolist()],
    ids=["data URL", "base64", "list", "both", "pixels"],
)
def test_what_a_request_carries_is_taken(client: FlaskClient, images: Any) -> None:
    plain = client.post("/predict", json={"images": PIXELS.tolist()}).get_json()
    answer = client.post("/predict", json={"images": images})
    assert answer.status_code == 200, answer.get_json()
    labels = answer.get_json()["labels"]
    rows = labels if isinstance(labels[0], list) else [labels]
    assert all(row == plain["labels"] for row in rows)


@pytest.mark.parametrize("nested", [False, True])
def test_a_path_is_refused_whether_or_not_it_leads_to_a_file(
    client: FlaskClient, file: Path, nested: bool
) -> None:
    sentences = set()
    for path in (
        str(file),
        str(file.with_name("none.png")),
        f"file://{file}",
        "../secret.png",
        "/etc/passwd",
    ):
        answer = client.post("/predict", json={"images": [path] if nested else path})
        assert answer.status_code == 400
        sentences.add(answer.get_json()["error"])
    assert len(sentences) == 1
    assert "data URL" in sentences.pop()


def test_the_files_of_one_folder_may_be_allowed(file: Path) -> None:
    client = _client(image_folder=str(file.parent))
    plain = client.post("/predict", json={"images": TEXT}).get_json()
    assert client.post("/predict", json={"images": "garment.png"}).get_json() == plain
    assert client.post("/predict", json={"images": str(file)}).get_json() == plain
    for path in (
        "../secret.png",
        "leads-out.png",
        str(file.parent.with_name("secret.png")),
        "none.png",
        "\0",
    ):
        assert client.post("/predict", json={"images": path}).status_code == 400


def test_what_is_no_image_is_the_callers_fault(client: FlaskClient) -> None:
    for images in ("data:image/png;base64,AAAA", "AAAA", "", {"path": "/etc/passwd"}, None):
        assert client.post("/predict", json={"images": images}).status_code == 400
