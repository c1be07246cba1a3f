"""Answers that are not a model's: errors, always as JSON, and the identifier of every request."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from flask import Flask, Response, g, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from serve.service import NotReadyError, Service

_CALLERS_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = logging.getLogger("serve")


class RequestError(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, code: str, sentence: str, **more: Any) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.more = more


def invalid_body(error: ValidationError) -> RequestError:
    """400 for what is no JSON, 422 with the places that do not fit for the rest."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return RequestError(400, "bad_request", f"The body is not valid JSON: {details[0]['msg']}.")
    detail = [{"loc": ["body", *item["loc"]], "msg": item["msg"], "type": item["type"]} for item in details]
    places = ", ".join(dict.fromkeys(".".join(map(str, item["loc"][:2])) for item in detail))
    return RequestError(422, "invalid", f"The body does not fit: see {places}.", detail=detail)


def json_response(content: Any, status: int = 200) -> Response:
    """An answer that is any JSON value."""
    return Response(json.dumps(content), status, mimetype="application/json")


def install(app: Flask, service: Service) -> None:
    """Give every request an identifier, and every error a JSON body with it and without a stack."""
    paths = [path for endpoint in service.endpoints for path in endpoint.infer_paths]

    @app.before_request
    def _identify() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _CALLERS_ID.fullmatch(given) else uuid4().hex

    @app.after_request
    def _tell_identifier(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.errorhandler(RequestError)
    def _request_error(error: RequestError) -> Response:
        return _error(error.status, error.code, str(error), **error.more)

    @app.errorhandler(NotReadyError)
    def _not_ready(_: NotReadyError) -> Response:
        response = _error(503, "not_ready", "The models are not ready. Try again.")
        response.headers["Retry-After"] = "1"
        return response

    @app.errorhandler(HTTPException)
    def _http_error(error: HTTPException) -> Response:
        return _from_http(error, paths)

    @app.errorhandler(Exception)
    def _our_fault(error: Exception) -> Response:
        _log.error("request %s failed", g.request_id, exc_info=error)
        return _error(500, "internal", "The server failed; its log has more under the id.")


def _from_http(error: HTTPException, paths: Sequence[str]) -> Response:
    status = error.code or 500
    code = error.name.lower().replace(" ", "_")
    if status == 404:
        sentence = f"There is nothing at {request.path}."
        return _error(status, code, sentence, detail="Not Found", models=list(paths))
    response = _error(status, code, error.description or error.name)
    for header, value in error.get_headers():
        if header.lower() not in ("content-type", "content-length"):
            response.headers[header] = value
    return response


def _error(status: int, code: str, sentence: str, **more: Any) -> Response:
    return json_response({"error": sentence, "code": code, "id": g.request_id, **more}, status)
