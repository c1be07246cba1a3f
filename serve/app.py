"""The WSGI application: paths of the predecessor and of the v2 protocol over the same pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, redirect, request, send_from_directory, url_for
from pydantic import BaseModel, ValidationError
from werkzeug.wrappers import Response as BaseResponse

from serve.answers import RequestError, install, json_response
from serve.bodies import asked
from serve.config import ServerConfig
from serve.endpoints import FROM_FILES, INVOCATIONS, MODELS, Endpoint
from serve.images import carried
from serve.openapi import describe
from serve.service import NotReadyError, Service

READY_PATHS = ("/v2/health/ready", "/health", "/healthcheck", "/status", "/ping")
_PAGE_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"


def create_app(config: ServerConfig) -> Flask:
    """Compile every model, then make the application. Raises what `Service.load` raises."""
    service = Service(config)
    service.load()
    return build_app(service)


def build_app(service: Service) -> Flask:
    """The application over a service, which may still have to be loaded: until then, requests get a 503."""
    app = Flask("serve", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = service.config.max_body_bytes
    install(app, service)
    _add_server_paths(app, service)
    _add_page(app, service)
    for endpoint in service.endpoints:
        _add_endpoint(app, service, endpoint)
    return app


def _add_server_paths(app: Flask, service: Service) -> None:
    def alive() -> Response:
        return json_response({"status": "OK"})

    def ready() -> Response:
        if not service.ready:
            raise NotReadyError
        return alive()

    def metadata() -> Response:
        return json_response({"name": "sparselane", "extensions": []})

    def models() -> Response:
        return json_response({"models": [endpoint.name for endpoint in service.endpoints]})

    def config() -> Response:
        return json_response(service.config.model_dump(mode="json"))

    for path, view in {
        "/v2/health/live": alive,
        **dict.fromkeys(READY_PATHS, ready),
        "/v2": metadata,
        "/v2/models": models,
        "/config": config,
    }.items():
        app.add_url_rule(path, path, view, methods=["GET"])


def _add_page(app: Flask, service: Service) -> None:
    def start() -> BaseResponse:
        return redirect(url_for("page"), 307)

    def page(name: str = "docs.html") -> Response:
        response = send_from_directory("static", name)
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    def openapi() -> Response:
        return json_response(describe(service))

    app.add_url_rule("/", "start", start, methods=["GET"])
    app.add_url_rule("/docs", "page", page, methods=["GET"])
    app.add_url_rule("/docs/<name>", "page", page, methods=["GET"])
    app.add_url_rule("/openapi.json", "openapi", openapi, methods=["GET"])


def _add_endpoint(app: Flask, service: Service, endpoint: Endpoint) -> None:
    def describe_model() -> Response:
        pipeline = service.pipeline(endpoint)
        shapes = dict(zip(pipeline.engine.input_names, map(list, pipeline.engine.input_shapes), strict=True))
        inputs = [{"name": name, "shape": shape} for name, shape in shapes.items()]
        found = {"name": endpoint.name, "task": pipeline.task, "model_path": endpoint.config.model}
        return json_response({**found, "inputs": inputs, "ready": True})

    def ready() -> Response:
        service.pipeline(endpoint)
        return json_response({"status": "OK"})

    infer = _infer_view(service, endpoint)
    for base in endpoint.bases:
        app.add_url_rule(base, base, describe_model, methods=["GET"])
        app.add_url_rule(f"{base}/ready", f"{base}/ready", ready, methods=["GET"])
    for path in endpoint.infer_paths:
        app.add_url_rule(path, path, infer, methods=["POST"])
        app.add_url_rule(path + FROM_FILES, path + FROM_FILES, infer, methods=["POST"])


def _meant(service: Service, endpoint: Endpoint) -> Endpoint:
    """The endpoint of the path, or at SageMaker's path that of its header. Raises RequestError for a name of none."""
    name = request.headers.get("X-Amzn-SageMaker-Target-Model")
    if not name or request.path != INVOCATIONS:
        return endpoint
    found = next((other for other in service.endpoints if MODELS + name in other.bases), None)
    if found is None:
        names = ", ".join(other.name for other in service.endpoints)
        message = f'There is no model "{name}" (X-Amzn-SageMaker-Target-Model); there are {names}.'
        raise RequestError(404, "not_found", message)
    return found


def _infer_view(service: Service, endpoint: Endpoint) -> Callable[[], Response]:
    def infer() -> Response:
        pipeline = service.pipeline(_meant(service, endpoint))
        given = asked(request, pipeline.input_schema)
        try:
            answer: Any = pipeline(carried(given, service.config.image_folder))
        except ValidationError:
            raise
        except ValueError as error:
            raise RequestError(400, "bad_request", str(error)) from error
        if not isinstance(answer, BaseModel):
            # A custom task without a schema of its own gives what its function gives.
            answer = pipeline.output_schema.model_validate(answer)
        # pydantic writes arrays of numbers without spaces, and NaN and infinities as null: strict JSON.
        return Response(answer.model_dump_json(), mimetype="application/json")

    return infer
