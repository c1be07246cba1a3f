"""The documentation: a page that needs no network, and an OpenAPI document that lists every path."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import serve
from pipelines import ENGINES
from serve import create_app
from serve.config import make_config
from serve.endpoints import FROM_FILES

STATIC = Path(serve.__file__).parent / "static"


class Silent:
    """An engine that is never asked."""

    input_names = ("input_ids",)
    input_shapes = ((1, 128),)
    batch_size = 1

    def __init__(self, _: Any) -> None:
        pass

    def run(self, inp: list[Any]) -> list[Any]:
        raise NotImplementedError


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setitem(ENGINES, "engine", Silent)
    entries = [{"task": "sentiment-analysis"}, {"task": "glue", "route": "/own", "name": "other"}]
    return create_app(make_config({"endpoints": entries}, "test"))


@pytest.fixture
def document(app: Flask) -> Any:
    return app.test_client().get("/openapi.json").get_json()


def test_every_path_of_the_application_is_listed(app: Flask, document: Any) -> None:
    page = {"/", "/docs", "/docs/<name>", "/openapi.json"}
    rules = {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method in ("GET", "POST") and rule.rule not in page
        # Of these tasks, none takes files; a form is answered with 415.
        if not rule.rule.endswith(FROM_FILES)
    }
    assert {(path, verb) for path, verbs in document["paths"].items() for verb in verbs} == rules


def test_every_reference_has_its_schema(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    references = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(document)))
    assert references
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references <= known


def test_requests_have_the_tasks_schemas_and_a_sample_that_fits(document: Any) -> None:
    from pipelines import find_task

    operation = document["paths"]["/predict"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    assert body["schema"]["$ref"].endswith("/TextClassificationInput")
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["$ref"].endswith("/TextClassificationOutput")
    schema: Any = find_task("glue").pipeline.input_schema
    assert schema.fget(None).model_validate(body["example"])
    assert set(operation["responses"]) == {"200", "400", "413", "415", "422", "500", "503"}


@pytest.mark.parametrize("name", ["docs", "docs/docs.css", "docs/docs.js"])
def test_the_page_and_its_parts_are_served_under_a_strict_policy(app: Flask, name: str) -> None:
    response = app.test_client().get(f"/{name}")
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
    response.close()


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?://|//cdn|@import", text), file.name
        assert "innerHTML" not in text, file.name
    page = (STATIC / "docs.html").read_text(encoding="utf-8")
    parts = re.findall(r'(?:src|href)="docs/([^"]+)"', page)
    assert sorted(parts) == ["docs.css", "docs.js"]
    assert not re.search(r"<style|<script>|\son\w+=|style=", page)


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "none.js"])
def test_only_the_pages_own_files_are_served(app: Flask, name: str) -> None:
    assert app.test_client().get(f"/docs/{name}").status_code == 404
