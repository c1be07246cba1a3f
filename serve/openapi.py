"""The OpenAPI document of a server, made from its paths and the schemas of its pipelines."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from serve.bodies import FORM, takes_files
from serve.endpoints import FROM_FILES
from serve.service import Service

_ERRORS = {
    "400": "The body is not JSON, or its content cannot be used.",
    "413": "The body is too long.",
    "415": "The body is of a kind that the task does not take.",
    "422": "The body does not fit the schema; detail says where.",
    "500": "The server failed.",
    "503": "The models are not ready.",
}
_ERROR_SCHEMA = {
    "title": "Error",
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "What happened."},
        "code": {"type": "string", "description": "The same as one word."},
        "id": {"type": "string", "description": "The request, as in the header X-Request-Id and the log."},
        "detail": {"description": "With 422, a list of places in the body."},
    },
    "required": ["error", "code", "id"],
}
_GET = {
    "/v2/health/live": "The process answers.",
    "/v2/health/ready": "Every model is ready.",
    "/health": "As /v2/health/ready.",
    "/healthcheck": "As /v2/health/ready.",
    "/status": "As /v2/health/ready.",
    "/ping": "As /v2/health/ready.",
    "/v2": "What the server is.",
    "/v2/models": "Names of the models.",
    "/config": "The configuration in effect.",
}


def describe(service: Service) -> dict[str, Any]:
    """An OpenAPI 3.1 document that lists every path. Raises NotReadyError before the models are loaded."""
    pipelines = [(endpoint, service.pipeline(endpoint)) for endpoint in service.endpoints]
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for _, pipeline in pipelines:
        wanted += [(pipeline.input_schema, "validation"), (pipeline.output_schema, "serialization")]
    references, definitions = models_json_schema(wanted, ref_template="#/components/schemas/{model}")

    paths: dict[str, Any] = {path: {"get": _get("server", text)} for path, text in _GET.items()}
    for endpoint, pipeline in pipelines:
        request = references[pipeline.input_schema, "validation"]
        answer = references[pipeline.output_schema, "serialization"]
        body = _body(pipeline.input_schema, request)
        preferred = endpoint.infer_paths[0]
        files = [path + FROM_FILES for path in endpoint.infer_paths if takes_files(pipeline.input_schema)]
        for path in (*endpoint.infer_paths, *files):
            text = f"Ask {endpoint.name}, a model for {pipeline.task}."
            summary = text if path == preferred else f"As POST {preferred}."
            paths[path] = {"post": _post(endpoint.name, summary, body, answer)}
        for base in endpoint.bases:
            paths[base] = {"get": _get(endpoint.name, f"What {endpoint.name} is.")}
            paths[f"{base}/ready"] = {"get": _get(endpoint.name, f"{endpoint.name} is ready.")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sparselane server", "version": _version()},
        "paths": paths,
        "components": {"schemas": {**definitions.get("$defs", {}), "Error": _ERROR_SCHEMA}},
    }


def _get(tag: str, summary: str) -> dict[str, Any]:
    answer = {"description": "JSON.", "content": {"application/json": {"schema": {}}}}
    return {"tags": [tag], "summary": summary, "responses": {"200": answer, "503": _error(_ERRORS["503"])}}


def _body(schema: type[BaseModel], request: Any) -> dict[str, Any]:
    """JSON, and for tasks of images a form whose other fields are those of the JSON."""
    content: dict[str, Any] = {"application/json": {"schema": request, "example": _example(schema)}}
    if takes_files(schema):
        file = {"type": "string", "contentMediaType": "application/octet-stream"}
        images = {"type": "array", "items": file, "minItems": 1, "description": "One file an image."}
        fields = {
            name: {"description": field.description or ""} for name, field in schema.model_fields.items()
        }
        form = {"type": "object", "properties": fields | {"images": images}, "required": ["images"]}
        content[FORM] = {"schema": form}
    return {"required": True, "content": content}


def _post(tag: str, summary: str, body: dict[str, Any], answer: Any) -> dict[str, Any]:
    good = {"description": "The answer.", "content": {"application/json": {"schema": answer}}}
    errors = {status: _error(text) for status, text in _ERRORS.items()}
    return {"tags": [tag], "summary": summary, "requestBody": body, "responses": {"200": good, **errors}}


def _error(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _example(schema: type[BaseModel]) -> dict[str, Any]:
    """A request made of the first example of every field that has one."""
    return {name: field.examples[0] for name, field in schema.model_fields.items() if field.examples}


def _version() -> str:
    try:
        return version("sparselane")
    except PackageNotFoundError:
        return "not installed"
