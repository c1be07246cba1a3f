"""The body of a request as a task's input: JSON, or for tasks of images the files of a form."""

from __future__ import annotations

import json
from typing import Any

from flask import Request
from pydantic import BaseModel, ValidationError

from serve.answers import RequestError, invalid_body

FORM = "multipart/form-data"
# Names of the parts that are images: of the task's input, and of the predecessor's.
FILE_FIELDS = ("images", "request")
# What programs call JSON that they send; the second is what curl says unless it is told otherwise.
_JSON = ("", "application/x-www-form-urlencoded", "application/octet-stream", "text/plain")


def takes_files(schema: type[BaseModel]) -> bool:
    """Whether a task's input has images, also that of a task which a program registers itself."""
    return hasattr(schema, "from_files")


def asked(request: Request, schema: type[BaseModel]) -> BaseModel:
    """The task's input in a request.

    Raises RequestError: 400 for what is no JSON, 415 for a kind of body that the task does not take, 422 for fields
    that do not fit.
    """
    kind = request.mimetype
    try:
        if kind == FORM and takes_files(schema):
            return _from_form(request, schema)
        if kind in _JSON or kind == "application/json" or kind.endswith("+json"):
            return schema.model_validate_json(request.get_data())
    except ValidationError as error:
        raise invalid_body(error) from error
    takes = f"JSON or {FORM} with images as files" if takes_files(schema) else "JSON"
    message = f"The body is {kind}; this task takes {takes}."
    raise RequestError(415, "unsupported_media_type", message)


def _from_form(request: Request, schema: type[BaseModel]) -> BaseModel:
    parts = list(request.files.items(multi=True))
    wrong = next((name for name, _ in parts if name not in FILE_FIELDS), None)
    if not parts or wrong is not None or "images" in request.form:
        found = "no file" if wrong is None else f'a file called "{wrong}"'
        message = (
            f"The form has {found}; send each image as a file called images (curl -F images=@photo.png)."
        )
        detail = [{"loc": ["body", "images"], "msg": "Files required", "type": "missing"}]
        raise RequestError(422, "invalid", message, detail=detail)
    fields = {name: _value(values) for name, values in request.form.lists()}
    made: BaseModel = schema.from_files(  # type: ignore[attr-defined]  # `takes_files` has looked
        [file for _, file in parts], from_server=True, **fields
    )
    return made


def _value(values: list[str]) -> Any:
    """A field of a form: the JSON values that its texts are, else the texts."""
    found = []
    for text in values:
        try:
            found.append(json.loads(text))
        except ValueError:
            found.append(text)
    return found if len(found) > 1 else found[0]
