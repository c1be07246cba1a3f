"""What the server serves, as pydantic models: read from a YAML file or made from the command line."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from engine import OptionError
from pipelines import find_task

Integration = Literal["local", "sagemaker"]
LogLevel = Literal["debug", "info", "warn", "warning", "error", "critical", "fatal"]
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ROUTE = re.compile(r"(/[A-Za-z0-9._~-]+)+")
SAGEMAKER_PORT = 8080
LAST_PORT = 65535
# What the server answers itself; a route of an endpoint may not begin so.
RESERVED = (
    *("/v2", "/docs", "/openapi.json", "/config", "/health", "/healthcheck", "/status", "/ping"),
    "/invocations",
)


class EndpointConfig(BaseModel):
    """One model behind its own paths."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    task: str = Field(description="Name or alias of the task.")
    model: str = Field(default="default", description="File, folder or stub; default: the task's own model.")
    name: str | None = Field(default=None, description="Part of the paths; without one, the task.")
    route: str | None = Field(default=None, description="A path of the endpoint's own beside the others.")
    batch_size: int | None = Field(default=1, ge=1, description="Rows per engine call; null: as they come.")
    scheduler: str | None = Field(default=None, description="default, single_stream, multi_stream, elastic.")
    num_cores: int | None = Field(default=None, ge=1, description="Physical cores; null: the server's.")
    num_streams: int | None = Field(default=None, ge=1, description="Requests that may run at once.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of the task's pipeline.")

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str) -> str:
        find_task(task)
        return task

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str | None) -> str | None:
        if name is not None and not _NAME.fullmatch(name):
            message = f'"{name}" is not 1 to 64 letters, digits, dots, hyphens or underscores'
            raise ValueError(message)
        return name

    @field_validator("route")
    @classmethod
    def _plain_route(cls, route: str | None) -> str | None:
        if route is None:
            return None
        route = "/" + route.strip("/")
        if not _ROUTE.fullmatch(route):
            message = f'"{route}" is not a path of letters, digits and -._~'
            raise ValueError(message)
        if route.rsplit("/", 1)[1] in ("infer", "ready", "from_files"):
            message = f'"{route}" ends in a word that the server adds itself; leave it out'
            raise ValueError(message)
        if any(route == taken or route.startswith(taken + "/") for taken in RESERVED):
            message = f'"{route}" belongs to the server; its own paths begin with {", ".join(RESERVED)}'
            raise ValueError(message)
        return route


class ServerConfig(BaseModel):
    """The whole server."""

    model_config = ConfigDict(extra="forbid")

    endpoints: list[EndpointConfig] = Field(min_length=1, description="What is served.")
    integration: Integration = Field(default="local", description="sagemaker: its paths and its port, too.")
    host: str = Field(default="0.0.0.0", description="Address to listen on.")  # noqa: S104 - as documented
    port: int = Field(default=5543, ge=0, le=LAST_PORT, description="Port to listen on; 0 for any free one.")
    log_level: LogLevel = Field(default="info", description="Least level of the server's own log lines.")
    num_cores: int | None = Field(default=None, ge=1, description="Physical cores; null: all.")
    num_workers: int | None = Field(default=None, ge=1, description="Streams of endpoints that name none.")
    threads: int = Field(default=16, ge=1, description="Requests that are read and answered at once.")
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024, description="Longest body that is read.")
    image_folder: Path | None = Field(default=None, description="Folder whose images requests may name.")

    @model_validator(mode="after")
    def _port_of_the_container(self) -> ServerConfig:
        if self.integration == "sagemaker" and "port" not in self.model_fields_set:
            text = os.environ.get("SAGEMAKER_BIND_TO_PORT") or str(SAGEMAKER_PORT)
            if not text.isdecimal() or int(text) > LAST_PORT:
                message = f'SAGEMAKER_BIND_TO_PORT must be a port of 0 to {LAST_PORT}; got "{text}"'
                raise ValueError(message)
            self.port = int(text)
        return self

    @model_validator(mode="after")
    def _distinct(self) -> ServerConfig:
        for word in ("name", "route"):
            values = [getattr(endpoint, word) for endpoint in self.endpoints]
            twice = sorted({value for value in values if value is not None and values.count(value) > 1})
            if twice:
                message = f'two endpoints have the {word} "{twice[0]}"; give each its own'
                raise ValueError(message)
        return self


def read_config(file: Path, **overrides: Any) -> ServerConfig:
    """The configuration in a YAML file, with the overrides that are not None.

    Raises OptionError with one sentence on a missing file, broken YAML, or keys and values that do not fit;
    for an unknown key it names the nearest known one.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"Cannot read the configuration {file}: {error.strerror}."
        raise OptionError(message) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        message = f"{file} is not valid YAML: {reason}"
        raise OptionError(message) from error
    if not isinstance(content, dict):
        held = "is empty: it" if content is None else f"is a {type(content).__name__}: it"
        message = f"{file} {held} must hold a mapping with the key endpoints."
        raise OptionError(message)
    return make_config(content, str(file), **overrides)


def make_config(content: dict[Any, Any], source: str, **overrides: Any) -> ServerConfig:
    """A configuration from plain data; `source` is named in errors. Raises OptionError as `read_config`."""
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return ServerConfig.model_validate(content | given)
    except ValidationError as error:
        sentences = [_sentence(detail["type"], detail["loc"], detail["msg"]) for detail in error.errors()]
        message = f"{source}: {'; '.join(sentences)}"
        raise OptionError(message) from error


def _sentence(kind: str, place: tuple[int | str, ...], reason: str) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if kind != "extra_forbidden":
        reason = reason.removeprefix("Value error, ").removesuffix(".")
        return f"{where}: {reason}" if where else reason
    schema = EndpointConfig if place[0] == "endpoints" else ServerConfig
    near = get_close_matches(str(place[-1]), schema.model_fields, n=1, cutoff=0.5)
    advice = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(schema.model_fields)}"
    return f"{where} is not a known key; {advice}"


LOG_LEVELS: tuple[str, ...] = get_args(LogLevel)
INTEGRATIONS: tuple[str, ...] = get_args(Integration)
